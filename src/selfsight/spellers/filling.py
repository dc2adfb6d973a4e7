"""The net that says what a picture lacks: convolutions at three sides, told how much of it is known.

Pixels are first folded into channels, so that the work is at about the same side whatever the picture's (Shi et al.
2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN", read backwards); then as a
U-net (Ronneberger, Fischer, Brox 2015) with sums in place of joined channels. No statistics over a batch.

Shapes: N pictures, C channels, S side, W width, K numbers that are told.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONDITION = 32
"""Numbers that shift and scale the maps."""
LAID = (8, 4, 4)
"""Channels and sides of the map that is laid out of what is told."""
LOUD = 4.0
"""Pictures less their mean deviate by about a quarter."""


class Filling(nn.Module):
    """(N, C, S, S) about their mean, (N,) tokens of `tokens` known, (N, K) told -> what to add, (N, C, S, S).

    side: of the map that the work is done at, up to twice as much.
    """

    def __init__(self, channels: int, size: int, side: int, width: int, told: int, tokens: int) -> None:
        super().__init__()
        self.fold, self.tokens = 2 ** max(0, int(math.log2(size / side))), tokens
        folded = channels * self.fold**2
        self.condition = nn.Sequential(nn.Linear(8 + told, CONDITION), nn.GELU(), nn.Linear(CONDITION, CONDITION // 2))
        self.laid = nn.Linear(told, math.prod(LAID))
        self.placed = nn.Conv2d(LAID[0], width, 1)
        self.first = nn.Conv2d(folded, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width, CONDITION // 2) for _ in range(3))
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2))
        self.up = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.last = nn.Conv2d(width, folded, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # begins near nothing, but lets gradients through

    def forward(self, x: Tensor, counts: Tensor, told: Tensor) -> Tensor:
        share = (counts / self.tokens).to(told)[:, None]
        waves = [wave(math.pi * k * share) for k in (1, 2, 3) for wave in (torch.sin, torch.cos)]
        condition = self.condition(torch.cat([share, share**2, *waves, told], 1))
        height, wide = x.shape[-2:]
        padded = F.pad(LOUD * x, (0, -wide % self.fold, 0, -height % self.fold))
        maps = [self.blocks[0](self.first(F.pixel_unshuffle(padded, self.fold)), condition)]
        maps.append(self.blocks[1](self.down[0](maps[0]), condition))
        laid = self.placed(self.laid(told).unflatten(1, LAID))
        below = self.down[1](maps[1])
        below = self.blocks[2](below + F.interpolate(laid, below.shape[-2:]), condition)
        for number in (1, 0):
            below = self.up[number](maps[number] + F.interpolate(below, maps[number].shape[-2:]))
        return F.pixel_shuffle(self.last(F.gelu(below)), self.fold)[:, :, :height, :wide] / LOUD


class Block(nn.Module):
    """Two convolutions beside the way through, their input shifted and scaled by the condition."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.shift = nn.Linear(condition, 2 * width)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.shift.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.shift(condition)[:, :, None, None].chunk(2, 1)
        return x + self.second(F.gelu(self.first(self.norm(x) * (1 + scale) + shift)))
