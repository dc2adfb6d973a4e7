"""The quick way through a network, where it has one. Without timm's networks in it, timm is not imported."""

from __future__ import annotations

import sys

from torch import nn


def quicken(model: nn.Module) -> int:
    """Gives timm's plain residual networks and transformers within `model`, and residual blocks, the quick way -> how
    many there were.

    Their classes change, their names, weights and what they compute do not. See `blocks.py` and `transformers.py`.
    """
    quickened = 0
    if "timm.models.resnet" in sys.modules:
        from selfsight.blocks import QUICK, is_plain

        for module in [each for each in model.modules() if type(each) in QUICK and is_plain(each)]:
            module.__class__ = QUICK[type(module)]  # type: ignore[assignment]
            quickened += 1
    if "timm.models.vision_transformer" in sys.modules:
        from timm.models.vision_transformer import VisionTransformer

        from selfsight.transformers import QuickVisionTransformer

        for module in [each for each in model.modules() if type(each) is VisionTransformer]:
            module.__class__ = QuickVisionTransformer
            quickened += 1
    return quickened
