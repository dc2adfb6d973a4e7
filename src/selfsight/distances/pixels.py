"""Pixels and their gradients: what is where, and where it changes.

Shapes: N pictures, K answers to each, C channels, s side.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from selfsight.distance import Distance, Gauge
from selfsight.encoder import Encoder
from selfsight.maths.distances import Difference, pixels_apart


@dataclass(frozen=True, kw_only=True)
class Pixels(Distance):
    """Good: fast, needs no weights, tells colours and places. Poor: texture moved by one pixel is as far as no texture
    at all, so that fine detail is answered by its mean."""

    pixels: float = 1.0
    """Weight of the mean difference of pixels, at least 0."""
    gradients: float = 1.0
    """Weight of the mean difference of neighbours' differences, at least 0."""
    difference: Difference = "absolute"
    """absolute: an error counts as it is. squared: one large error counts more than many small ones."""

    def __post_init__(self) -> None:
        if min(self.pixels, self.gradients) < 0 or not self.pixels + self.gradients > 0:
            raise ValueError(
                f"pixels and gradients are weights, at least 0 and not both 0, not {self.pixels} and {self.gradients}"
            )

    def build(self, channels: int, encoder: Encoder | None = None) -> Gauge:
        return _Pixels(self)


class _Pixels(Gauge):
    def __init__(self, given: Pixels) -> None:
        super().__init__()
        self.given = given

    def forward(self, answers: Tensor, truth: Tensor) -> Tensor:
        return pixels_apart(answers, truth, self.given.pixels, self.given.gradients, self.given.difference)
