"""Downsample: made smaller, antialiased, and brought back to the same side.

What super-resolution is trained on. The way down and the way up are one product with two small matrices an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, nowhere
from selfsight.images.resample import resize_matrix, separable


@dataclass(frozen=True, kw_only=True)
class Downsample(Corruption):
    """Good for a generator that has to think up detail, and for views that agree in layout alone. Poor for teaching an
    encoder what things are: large shapes are all that is left, and were all that most of them need."""

    factors: tuple[int, ...] = (2, 4, 8)
    """How many times smaller, drawn of these for each picture; 2 to 16, and never below one pixel."""

    def check(self) -> None:
        if not self.factors or not all(2 <= factor <= 16 for factor in self.factors):
            raise ValueError(f"factors are one or more whole numbers from 2 to 16, not {self.factors}")

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        which = torch.randint(len(self.factors), (len(images),), generator=generator).to(images.device)
        rows, columns = (
            torch.cat([_there_and_back(side, factor, images.device) for factor in self.factors])[which]
            for side in images.shape[-2:]
        )
        return separable(images, rows, columns).clamp(0, 1), nowhere(images)


def _there_and_back(side: int, factor: int, device: torch.device) -> Tensor:
    """(1, side, side): to `side / factor` pixels, at least one, and back."""
    small, zero = max(1, round(side / factor)), torch.zeros(1, device=device)
    return resize_matrix(zero, zero + small, small, side) @ resize_matrix(zero, zero + side, side, small)
