"""Residual networks with `convolved` and `normed` for their layers, which keep their names.

The ways are of any network with the layers' names that timm gave them: our own here, timm's in `theirs.py`.
Shapes: N images, C channels, H W.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from selfsight.convolved import convolved
from selfsight.normed import normed, normed_for_two
from selfsight.residual import Block, Residual

BESIDE = ("drop_block", "aa", "se", "drop_path")
"""What may stand between a block's layers; only blocks without any are quickened."""


class _Way(nn.Module):
    """Of a block; its own forward is the next class's."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.twice(x, x)[0] if is_plain(self) and not is_heard(self) else super().forward(x)

    def twice(self, x: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        """`again` is x for the shortcut; both results are what `forward` gives."""
        raise NotImplementedError


class BasicWay(_Way):
    """conv, norm, ReLU, conv, norm, plus the shortcut, ReLU."""

    def twice(self, x: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        block: Any = self
        inner = normed(block.bn1, block.act1, convolved(block.conv1, x))
        return normed_for_two(block.bn2, block.act2, convolved(block.conv2, inner), _shortcut(block, again))


class BottleneckWay(_Way):
    """conv, norm, ReLU twice; conv, norm, plus the shortcut, ReLU."""

    def twice(self, x: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        block: Any = self
        inner = normed(block.bn1, block.act1, convolved(block.conv1, x))
        inner = normed(block.bn2, block.act2, convolved(block.conv2, inner))
        return normed_for_two(block.bn3, block.act3, convolved(block.conv3, inner), _shortcut(block, again))


class NetWay(nn.Module):
    """The stem, conv, norm, ReLU, pooling, and then block after block, each with two users of its result."""

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        net: Any = self
        stages = (net.layer1, net.layer2, net.layer3, net.layer4)
        blocks: list[Any] = [block for stage in stages if type(stage) is nn.Sequential for block in stage]
        quick = all(type(stage) is nn.Sequential for stage in stages) and all(map(_is_quick, blocks))
        if not quick or net.grad_checkpointing or is_heard(self):
            otherwise: Any = super()
            slow: Tensor = otherwise.forward_features(x)
            return slow
        x, again = normed_for_two(net.bn1, net.act1, net.conv1(x))
        if not isinstance(net.maxpool, nn.Identity):
            x = again = net.maxpool(x)
        for block in blocks:
            x, again = block.twice(x, again)
        return x


class QuickBlock(BasicWay, Block):
    """Our own."""


class QuickResidual(NetWay, Residual):
    """Our own."""


OWN: dict[type, type] = {Block: QuickBlock, Residual: QuickResidual}


def _is_quick(block: nn.Module) -> bool:
    return isinstance(block, _Way) and is_plain(block)


def is_plain(module: nn.Module) -> bool:
    """Whether what a quick class leaves out is not there."""
    if hasattr(module, "layer1"):  # a whole network
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


def _shortcut(block: Any, x: Tensor) -> Tensor:
    if block.downsample is None:
        return x
    for layer in list(block.downsample):
        x = normed(layer, None, x) if isinstance(layer, nn.BatchNorm2d) else convolved(layer, x)
    return x
