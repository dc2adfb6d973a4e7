"""Elastic deformation: a smooth random field by which each point of an image is shifted.

Simard, Steinkraus, Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
section 2. We depart in how the field is made smooth: noise on a coarse grid, interpolated by cubic curves, costs the
same at every size, where the paper smooths noise of the image's size with a wide Gaussian.

Shapes: N images, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def elastic_field(n: int, height: int, width: int, strength: float, cells: int, generator: Generator) -> Tensor:
    """n fields of shifts -> (N, H, W, 2), (x, y) in half sides of the image; drawn on the CPU.

    strength: greatest shift of a point of the coarse grid, drawn evenly either way; cells: points of that grid a side.
    """
    if cells < 2:
        raise ValueError(f"a field needs at least 2 x 2 points, not cells={cells}: give 2 or more")
    coarse = strength * (2 * torch.rand(n, 2, cells, cells, generator=generator) - 1)
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)
