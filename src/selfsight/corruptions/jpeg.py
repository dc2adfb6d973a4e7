"""Jpeg: what compression leaves, blocks and all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn, nowhere
from selfsight.images.jpeg import jpeg


@dataclass(frozen=True, kw_only=True)
class Jpeg(Corruption):
    """Good for cleaning pictures from the web. Poor on large pictures, whose blocks of 8 pixels are small, and of which
    little is lost."""

    quality: tuple[float, float] = (3.0, 20.0)
    """As libjpeg counts, 1 worst to 100 best, (least, most); 75 is usual on the web."""

    def check(self) -> None:
        check_range("quality", self.quality, "quality as libjpeg counts it", 1, 100)

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        down, right = torch.randint(8, (2,), generator=generator).tolist()  # a grid that cannot be known beforehand
        quality = drawn(len(images), self.quality, generator).to(images)
        return jpeg(images, quality, (down, right)), nowhere(images)
