"""The backbones a recipe can name, and the short form of naming one."""

from __future__ import annotations

from selfsight.encoder import Backbone
from selfsight.encoders.small import Small
from selfsight.encoders.timm import Timm

__all__ = ["Small", "Timm", "named"]


def named(name: str) -> Backbone:
    """ "small" is the small default; any other name is one of timm's."""
    return Small() if name.lower() == "small" else Timm(name=name)
