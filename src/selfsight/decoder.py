"""From what an encoder saw back to a picture: trained beside it by tasks that restore, then thrown away.

The decoder sees the last map, which knows where things are, and the embedding that probes will use, which then has to
tell something too. It never sees the picture unless asked to: what it is to say has to come through the encoder.

Shapes: N images, D embedding, M channels of the last map, C channels, S side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.encoder import Encoder

FIRST = 4
"""Side of the smallest map that is decoded: what the embedding alone can lay out."""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Good: small, so that the encoder has to do the work. Poor: for sharp pictures take `sees_picture`."""

    width: int = 64
    """Channels of the smallest map; half as many at each doubling of its side, at least 16."""
    sees_picture: bool = False
    """Show it the damaged picture too: better pictures, and an idler encoder."""

    def build(self, encoder: Encoder, channels: int) -> nn.Module:
        """A module ((N, D), (N, M, h, w), picture) -> (N, channels, S, S), S that of the picture."""
        with torch.no_grad():
            training = encoder.training
            blank = torch.zeros(1, encoder.channels, encoder.size, encoder.size)
            z, seen = encoder.eval().with_map(blank)
            encoder.train(training)
        first = max(FIRST, seen.shape[-1])
        doublings = max(1, math.ceil(math.log2(encoder.size / first)))
        widths = [max(16, self.width // 2**i) for i in range(doublings + 1)]
        shown = encoder.channels if self.sees_picture else 0
        return Upward(z.shape[1], seen.shape[1], widths, first, shown, channels)


class Upward(nn.Module):
    """Doubles the side until the picture's is reached: nearest neighbours, 3 x 3 convolution, group normalisation."""

    def __init__(self, dim: int, seen: int, widths: list[int], first: int, shown: int, channels: int) -> None:
        super().__init__()
        self.first = first
        self.laid_out = nn.Linear(dim, widths[0] * FIRST**2)
        self.mapped = nn.Conv2d(seen, widths[0], 1)
        self.stages = nn.ModuleList(_convolved(given, wanted) for given, wanted in pairwise(widths))
        self.sharp = _convolved(widths[-1] + shown, 32, 32) if shown else None
        self.last = nn.Conv2d(32 if shown else widths[-1], channels, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)  # begins near the best constant answer, which is nothing

    def forward(self, z: Tensor, seen: Tensor, picture: Tensor) -> Tensor:
        laid_out = self.laid_out(z).unflatten(1, (-1, FIRST, FIRST))
        side = (self.first, self.first)
        x = F.interpolate(laid_out, side) + F.interpolate(self.mapped(seen), side)
        for number, stage in enumerate(self.stages, 1):
            last = number == len(self.stages)
            x = stage(F.interpolate(x, picture.shape[-2:] if last else (x.shape[-2] * 2, x.shape[-1] * 2)))
        if self.sharp is not None:
            x = self.sharp(torch.cat([x, picture], 1))
        return self.last(x)


def _convolved(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for given, wanted in pairwise(widths):
        layers += [nn.Conv2d(given, wanted, 3, padding=1), nn.GroupNorm(1, wanted), nn.ReLU()]
    return nn.Sequential(*layers)
