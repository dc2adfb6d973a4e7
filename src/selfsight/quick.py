"""The quick way through a network, where it has one. Where timm's networks cannot be in it, timm is not imported."""

from __future__ import annotations

import sys

from torch import nn

from selfsight.blocks import OWN, is_plain


def quicken(model: nn.Module) -> int:
    """Gives our own and timm's plain residual networks and transformers within `model`, and residual blocks, the quick
    way -> how many there were.

    Their classes change, their names, weights and what they compute do not. See `blocks.py` and `transformers.py`.
    """
    ways, quickened = OWN, 0
    if "timm.models.resnet" in sys.modules:
        from selfsight.theirs import THEIRS

        ways = OWN | THEIRS
    for module in [each for each in model.modules() if type(each) in ways and is_plain(each)]:
        module.__class__ = ways[type(module)]
        quickened += 1
    if "timm.models.vision_transformer" in sys.modules:
        from timm.models.vision_transformer import VisionTransformer

        from selfsight.transformers import QuickVisionTransformer

        for module in [each for each in model.modules() if type(each) is VisionTransformer]:
            module.__class__ = QuickVisionTransformer
            quickened += 1
    return quickened
