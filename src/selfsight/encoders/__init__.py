"""The backbones a recipe can name, and the short form of naming one."""

from __future__ import annotations

from selfsight.encoder import Backbone, Encoder, filled, read_weights, without_weights
from selfsight.encoders.small import Small
from selfsight.encoders.timm import Timm
from selfsight.errors import UserError

__all__ = ["Small", "Timm", "named", "stored"]


def named(name: str) -> Backbone:
    """ "small" is the small default; any other name is one of timm's."""
    return Small() if name.lower() == "small" else Timm(name=name)


def stored(path: str) -> Encoder:
    """The encoder of a run or an exported file, in eval mode and frozen; Small and timm's alone, no class of yours.

    Raises UserError where there is none.
    """
    tensors, described = read_weights(path)
    name = str(described.get("backbone", {}).get("class_path", "")).rpartition(".")[2]
    if name not in ("Small", "Timm"):
        raise UserError(f"{path} does not say which of our encoders its weights belong to: give a run, or an export.")
    backbone = {"Small": Small, "Timm": Timm}[name](**described["backbone"]["init_args"])
    return filled(without_weights(backbone), tensors, described, path)
