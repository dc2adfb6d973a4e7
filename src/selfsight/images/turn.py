"""Quarter turns.  images (N, C, S, S), quarters (N,) int in 0..3."""

from __future__ import annotations

import torch
from torch import Tensor


def quarter_turn(images: Tensor, quarters: Tensor) -> Tensor:
    """Each square image turned counter-clockwise by its number of quarters: (N, C, S, S) -> (N, C, S, S)."""
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"quarter turns need square images, not {tuple(images.shape[-2:])}")
    turned = torch.empty_like(images)
    for quarter in range(4):
        which = (quarters == quarter).nonzero()[:, 0]
        turned[which] = torch.rot90(images[which], quarter, dims=(-2, -1))
    return turned
