"""Colours in a wrong order.  images (N, C, H, W) float in [0, 1], C = 3 or 1."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

ORDERS = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Every order of red, green and blue but their own."""


def misorder(images: Tensor, generator: Generator) -> Tensor:
    """Each colour image with its channels in one of the five wrong orders; light and dark change places where there is
    one channel only."""
    if images.shape[1] == 1:
        return 1 - images
    if images.shape[1] != 3:
        raise ValueError(f"colours have 3 channels and gray has 1, not {images.shape[1]}: leave this change out")
    drawn = torch.randint(len(ORDERS), (len(images),), generator=generator)
    orders = torch.tensor(ORDERS)[drawn].to(images.device)
    return images.gather(1, orders[:, :, None, None].expand_as(images))
