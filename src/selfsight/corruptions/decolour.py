"""Decolour: the gray of the same lightness.

What colouring is trained on (Zhang, Isola, Efros 2016, "Colorful Image Colorization", section 2): L of Lab stays, a and
b are taken away. With less than all of it, each pixel moves towards its gray on the straight line through sRGB, which
never leaves what a screen can show.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn, nowhere
from selfsight.images.lab import lightness


@dataclass(frozen=True, kw_only=True)
class Decolour(Corruption):
    """Good where colour follows from what is shown: sky, skin, fruit. Poor where things may have any colour, and on
    images that are gray already; of one channel nothing is taken."""

    amount: tuple[float, float] = (1.0, 1.0)
    """Share of the colour that is taken away, (least, most) in [0, 1]."""

    def check(self) -> None:
        check_range("amount", self.amount, "share of the colour that is taken away", 0, 1)

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        amount = drawn(len(images), self.amount, generator).to(images)[:, None, None, None]
        if images.shape[1] == 1:
            return images, nowhere(images)
        gray = lightness(images).expand_as(images)
        return torch.lerp(images, gray, amount.expand_as(images)), nowhere(images)
