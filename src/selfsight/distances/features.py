"""What a selfsight encoder sees: an idea of likeness learned from the same images, without outside weights.

The maps behind the encoder's stages are compared as in Zhang et al. 2018 ("The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", equation 1), every channel with the same weight, since nobody judged pictures for it.
Pixels and gradients stay in: an encoder that was taught to ignore colour would accept any.

Shapes: N pictures, K answers to each, C channels, s side, S the encoder's side.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.distance import Distance, Gauge
from selfsight.encoder import Encoder, read_weights
from selfsight.encoders import stored
from selfsight.errors import UserError
from selfsight.maths.distances import maps_apart, pixels_apart, unit_maps
from selfsight.places import anchor


@dataclass(frozen=True, kw_only=True)
class Features(Distance):
    """Good: texture counts, wherever it lies by a pixel. Poor: as slow as the encoder, once for every code that is
    tried; and blind to whatever the encoder learned to ignore."""

    through: str | None = None
    """Look through the encoder of this run or .safetensors file; None: through the one that `build` is given."""
    features: float = 1.0
    """Weight of the maps' distance, which is at most 4 a stage; more than 0."""
    pixels: float = 30.0
    """Weight of the mean squared difference of pixels, at least 0. Photographs of 64 pixels without colour and with a
    quarter of their detail differ by 0.011 in this, and by 2.9 in the maps of an encoder trained for minutes."""
    gradients: float = 30.0
    """Weight of the mean squared difference of neighbours' differences, at least 0; there, 0.005."""
    least: int = 32
    """Pictures of fewer pixels a side are compared by pixels and gradients alone; others at the encoder's side."""

    def __post_init__(self) -> None:
        if not self.features > 0 or min(self.pixels, self.gradients) < 0:
            raise ValueError(
                f"features is a weight above 0, pixels and gradients are weights of at least 0, not {self.features}, "
                f"{self.pixels} and {self.gradients}: without features take the distance Pixels"
            )
        anchor(self, "through")

    def reads(self) -> str:
        if not self.through:
            return ""
        found, (tensors, _) = hashlib.blake2b(digest_size=16), read_weights(self.through)
        for name in sorted(tensors):
            found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def build(self, channels: int, encoder: Encoder | None = None) -> Gauge:
        if encoder is None and self.through:
            encoder = stored(self.through)
        if encoder is None or encoder.channels != channels:
            has = "none was given" if encoder is None else f"the one given takes {encoder.channels}"
            raise UserError(
                f"Features look through an encoder of {channels}-channel pictures, and {has}: name a run of such by "
                "`through` (--task.distance.through runs/a)."
            )
        return _Features(self, encoder)


class _Features(Gauge):
    def __init__(self, given: Features, encoder: Encoder) -> None:
        super().__init__()
        self.given = given
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> _Features:
        """Stays as it is: with the statistics of a batch, a picture's distance would depend on its neighbours."""
        return self

    def forward(self, answers: Tensor, truth: Tensor) -> Tensor:
        far = pixels_apart(answers, truth, self.given.pixels, self.given.gradients, "squared")
        if truth.shape[-1] < self.given.least:
            return far
        return far + self.given.features * maps_apart(self._maps(answers.flatten(0, 1)), self._maps(truth))

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        side = self.encoder.size
        if pictures.shape[-1] != side:
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=pictures.shape[-1] > side)
        return unit_maps(self.encoder.maps(pictures))
