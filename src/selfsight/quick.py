"""The quick way through a network, where it has one. Without timm's networks in it, timm is not imported."""

from __future__ import annotations

import sys

from torch import nn


def quicken(model: nn.Module) -> int:
    """Gives timm's plain residual networks within `model`, and their blocks, the quick way -> how many there were.

    Their classes change, their names, weights and what they compute do not. See `blocks.py`.
    """
    if "timm.models.resnet" not in sys.modules:
        return 0
    from selfsight.blocks import QUICK, is_plain

    plain = [module for module in model.modules() if type(module) in QUICK and is_plain(module)]
    for module in plain:
        module.__class__ = QUICK[type(module)]  # type: ignore[assignment]
    return len(plain)
