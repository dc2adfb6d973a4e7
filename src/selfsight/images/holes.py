"""What is hidden of a picture: squares of a grid, somewhere else for each.  Masks are (N, 1, H, W), 1 where hidden."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def holes(n: int, height: int, width: int, cells: int, share: float, generator: Generator) -> Tensor:
    """`share` of the cells x cells squares of each picture, at least one and never all, drawn on the CPU.

    Every pixel is hidden as often as any other, so that no place is known better.
    """
    count = min(max(1, round(share * cells**2)), cells**2 - 1)
    hidden = torch.rand(n, cells**2, generator=generator).argsort(1).argsort(1) < count
    return F.interpolate(hidden.float().view(n, 1, cells, cells), (height, width), mode="nearest-exact")


def fill(images: Tensor, masks: Tensor) -> Tensor:
    """Each picture with its holes in the mean colour of what is left: (N, C, H, W), (N, 1, H, W) -> (N, C, H, W)."""
    left = 1 - masks
    mean = (images * left).sum((2, 3), keepdim=True) / left.sum((2, 3), keepdim=True)
    return images * left + mean * masks
