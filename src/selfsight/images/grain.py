"""Coarser values and noise.  images (N, C, H, W) float in [0, 1]."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def posterise(images: Tensor, levels: Tensor) -> Tensor:
    """Values rounded to `levels` (N,) even steps from 0 to 1, at least 2."""
    steps = (levels.to(images.dtype) - 1)[:, None, None, None]
    return torch.round(images * steps) / steps


def noise(images: Tensor, deviation: Tensor, generator: Generator) -> Tensor:
    """Normal noise of each image's own deviation (N,), the same draws on every device."""
    drawn = torch.randn(images.shape, generator=generator).to(images)
    return (images + deviation[:, None, None, None] * drawn).clamp(0, 1)
