"""Blur: a Gaussian of each picture's own width."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from selfsight.corruption import Corruption, drawn, nowhere
from selfsight.images.sharpness import blur


@dataclass(frozen=True, kw_only=True)
class Blur(Corruption):
    """Good for a restorer of detail. Poor as a riddle about what is shown: large shapes stay, and a narrow blur can be
    undone by sharpening, which needs no idea of the picture."""

    sigma: tuple[float, float] = (0.02, 0.06)
    """Deviation as a share of the shorter side, (least, most) in (0, 0.5]."""

    def check(self) -> None:
        if not 0 < self.sigma[0] <= self.sigma[1] <= 0.5:
            raise ValueError(f"sigma is (least, most) share of the side, 0 < least <= most <= 0.5, not {self.sigma}")

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        sigma = drawn(len(images), self.sigma, generator) * min(images.shape[-2:])
        return blur(images, sigma.to(images.device)).clamp(0, 1), nowhere(images)
