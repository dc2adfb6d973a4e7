"""timm's residual networks, the quick way. Imports timm; see `quick.py`."""

from __future__ import annotations

from timm.models.resnet import BasicBlock, Bottleneck, ResNet

from selfsight.blocks import BasicWay, BottleneckWay, NetWay


class QuickBasicBlock(BasicWay, BasicBlock):
    """timm's."""


class QuickBottleneck(BottleneckWay, Bottleneck):
    """timm's."""


class QuickResNet(NetWay, ResNet):
    """timm's."""


THEIRS: dict[type, type] = {BasicBlock: QuickBasicBlock, Bottleneck: QuickBottleneck, ResNet: QuickResNet}
