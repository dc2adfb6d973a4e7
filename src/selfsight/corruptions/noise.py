"""Noise: normal, of every value its own, cut off at black and white."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn, nowhere
from selfsight.images.grain import noise


@dataclass(frozen=True, kw_only=True)
class Noise(Corruption):
    """Good for a first restorer: denoising is learned quickly. Poor as a riddle: a local mean finds most of it."""

    deviation: tuple[float, float] = (0.05, 0.3)
    """Of the noise, where black is 0 and white 1, (least, most), at least 0."""

    def check(self) -> None:
        check_range("deviation", self.deviation, "deviation of the noise", 0)

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        deviation = drawn(len(images), self.deviation, generator).to(images)
        return noise(images, deviation, generator), nowhere(images)
