"""timm's residual networks with `convolved` and `normed` for their layers, which keep their names.

Imports timm; see `quick.py`. Shapes: N images, C channels, H W.
"""

from __future__ import annotations

from typing import Any

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from selfsight.convolved import convolved
from selfsight.normed import normed, normed_for_two

BESIDE = ("drop_block", "aa", "se", "drop_path")
"""What may stand between a block's layers; only blocks without any are quickened."""


class QuickBasicBlock(BasicBlock):
    """conv, norm, ReLU, conv, norm, plus the shortcut, ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.twice(x, x)[0] if is_plain(self) and not is_heard(self) else super().forward(x)

    def twice(self, x: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        """`again` is x for the shortcut; both results are what `forward` gives."""
        inner = normed(self.bn1, self.act1, convolved(self.conv1, x))
        return normed_for_two(self.bn2, self.act2, convolved(self.conv2, inner), _shortcut(self, again))


class QuickBottleneck(Bottleneck):
    """conv, norm, ReLU twice; conv, norm, plus the shortcut, ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.twice(x, x)[0] if is_plain(self) and not is_heard(self) else super().forward(x)

    def twice(self, x: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        """`again` is x for the shortcut; both results are what `forward` gives."""
        inner = normed(self.bn1, self.act1, convolved(self.conv1, x))
        inner = normed(self.bn2, self.act2, convolved(self.conv2, inner))
        return normed_for_two(self.bn3, self.act3, convolved(self.conv3, inner), _shortcut(self, again))


class QuickResNet(ResNet):
    """The stem, conv, norm, ReLU, pooling, and then block after block, each with two users of its result."""

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        blocks: list[Any] = [block for stage in stages if type(stage) is nn.Sequential for block in stage]
        quick = all(type(stage) is nn.Sequential for stage in stages) and all(map(_is_quick, blocks))
        if not quick or self.grad_checkpointing or is_heard(self):
            return super().forward_features(x)
        x, again = normed_for_two(self.bn1, self.act1, self.conv1(x))
        if not isinstance(self.maxpool, nn.Identity):
            x = again = self.maxpool(x)
        for block in blocks:
            x, again = block.twice(x, again)
        return x


QUICK = {BasicBlock: QuickBasicBlock, Bottleneck: QuickBottleneck, ResNet: QuickResNet}


def _is_quick(block: nn.Module) -> bool:
    return type(block) in QUICK.values() and is_plain(block)


def is_plain(module: nn.Module) -> bool:
    """Whether what a quick class leaves out is not there."""
    if isinstance(module, ResNet):
        return True
    if type(module.downsample) not in (nn.Sequential, type(None)):  # whose layers one after another are not all it does
        return False
    return all(isinstance(getattr(module, name, None), (nn.Identity, type(None))) for name in BESIDE)


def is_heard(module: nn.Module) -> bool:
    """Whether someone waits for layers of it to be called, as the doctor's instruments do, or has put a call of his own
    in place of theirs."""
    if _has_any_global_hook():
        return True
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any("forward" in vars(layer) or any(getattr(layer, kind) for kind in kinds) for layer in module.modules())


def _shortcut(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
    if block.downsample is None:
        return x
    for layer in list(block.downsample):
        x = normed(layer, None, x) if isinstance(layer, nn.BatchNorm2d) else convolved(layer, x)
    return x
