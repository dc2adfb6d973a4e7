"""A plain residual network of four stages, as timm's ResNet is with basic blocks, and without timm: to import it brings
torchvision and torch's compiler along, and takes longer than to import torch.

He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition". Layers have timm's names, random weights are
drawn in its order: weights fit there, and a seed gives what it gives there.

Shapes: N images, C channels, H W, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

STEM = 64
"""Channels behind the first convolution, before its width is fitted; see `encoders/small.py`."""


class Block(nn.Module):
    """conv, norm, ReLU, conv, norm, plus the shortcut, ReLU."""

    def __init__(self, before: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        shortcut = None
        if stride > 1 or before != channels:
            shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        y += shortcut
        answer: Tensor = self.act2(y)
        return answer


class Residual(nn.Module):
    """A stem, four stages of blocks, each but the first of which halves the map, and the mean over places."""

    grad_checkpointing = False

    def __init__(self, channels: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv1: nn.Module = nn.Conv2d(channels, STEM, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(STEM)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        before = STEM
        for number, width in enumerate(widths, 1):
            first = Block(before, width, stride=1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(first, *(Block(width, width) for _ in range(blocks - 1))))
            before = width
        self.num_features = before
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> list[Any]:
        return [self.get_submodule(f"layer{number}") for number in range(1, 5)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, H', W')."""
        return self.forward_intermediates(x)[-1]

    def forward_head(self, x: Tensor) -> Tensor:
        """(N, D, H, W) -> (N, D)."""
        mean: Tensor = self.global_pool(x)
        return mean.flatten(1)

    def forward_intermediates(self, x: Tensor, intermediates_only: bool = True) -> list[Tensor]:
        """The maps behind the stem and each stage, fine to coarse."""
        x = self.act1(self.bn1(self.conv1(x)))
        maps = [x]
        x = self.maxpool(x)
        for stage in self.stages():
            x = stage(x)
            maps.append(x)
        return maps
