"""What is hidden of a picture, and what is seen in its place.  Masks are (N, 1, H, W), 1 where hidden."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Filling = Literal["mean", "gray", "noise"]
"""mean: the mean colour of what is left; gray: 0.5; noise: every value of its own, evenly from 0 to 1."""


def holes(n: int, height: int, width: int, cells: int, share: float, generator: Generator) -> Tensor:
    """`share` of the cells x cells squares of each picture, at least one and never all, drawn on the CPU.

    Every pixel is hidden as often as any other, so that no place is known better.
    """
    count = min(max(1, round(share * cells**2)), cells**2 - 1)
    hidden = torch.rand(n, cells**2, generator=generator).argsort(1).argsort(1) < count
    return F.interpolate(hidden.float().view(n, 1, cells, cells), (height, width), mode="nearest-exact")


def fill(images: Tensor, masks: Tensor) -> Tensor:
    """Each picture with its holes in the mean colour of what is left: (N, C, H, W), (N, 1, H, W) -> (N, C, H, W).

    Black where nothing is left.
    """
    left = 1 - masks
    mean = (images * left).sum((2, 3), keepdim=True) / left.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.lerp(images, mean.expand_as(images), masks.expand_as(images))


def hide(images: Tensor, masks: Tensor, by: Filling, generator: Generator) -> Tensor:
    """Each picture with its holes filled: (N, C, H, W), (N, 1, H, W) -> (N, C, H, W)."""
    if by == "mean":
        return fill(images, masks)
    if by == "gray":
        over = torch.full_like(images, 0.5)
    else:
        over = torch.rand(images.shape, generator=generator).to(images)
    return torch.lerp(images, over, masks.expand_as(images))
