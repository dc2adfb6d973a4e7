"""Several pictures in one: laid over one another, or each in a region of its own.

Shapes: N mixtures, S sources, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def overlaid(sources: Tensor, shares: Tensor) -> Tensor:
    """The weighted sum of pictures: (N, S, C, H, W), (N, S) -> (N, C, H, W)."""
    return torch.einsum("ns,nschw->nchw", shares.to(sources), sources)


def side_by_side(sources: Tensor, shares: Tensor, generator: Generator) -> Tensor:
    """Parallel bands at a random angle, each source filling its share: (N, S, C, H, W), (N, S) -> (N, C, H, W)."""
    n, _, _, height, width = sources.shape
    angle = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
    down, right = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij"
    )
    along = (down * angle.sin() + right * angle.cos()).flatten(1)
    rank = (along.argsort(1).argsort(1).to(shares) + 0.5) / (height * width)
    ends = shares.cumsum(1)[:, :-1]
    whose = (rank.unsqueeze(1) > ends.unsqueeze(2)).sum(1).view(n, 1, 1, height, width).to(sources.device)
    return sources.gather(1, whose.expand(n, 1, *sources.shape[2:]))[:, 0]
