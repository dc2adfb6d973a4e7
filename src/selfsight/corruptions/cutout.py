"""CutOut: some squares are hidden.

DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout", section 3.2: the centre
of a square lies anywhere in the picture, so that a part of it may lie outside. We depart in the number and the size of
the squares, which each picture draws, as inpainting wants it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn, drawn_whole
from selfsight.images.holes import Filling, hide
from selfsight.images.masks import rectangles


@dataclass(frozen=True, kw_only=True)
class CutOut(Corruption):
    """Good for inpainting where things are large. Poor with few, small squares: the neighbourhood fills them; and near
    the border less is hidden than in the middle."""

    count: tuple[int, int] = (1, 3)
    """Squares a picture, (least, most), at least 1; they may overlap."""
    size: tuple[float, float] = (0.25, 0.5)
    """Side of each as a share of the picture's shorter side, (least, most) in (0, 1]."""
    filled: Filling = "mean"
    """What is seen in place of the hidden: mean colour of what is left, gray, or noise."""

    def check(self) -> None:
        check_range("count", self.count, "squares a picture", 1)
        if not 0 < self.size[0] <= self.size[1] <= 1:
            raise ValueError(f"size is (least, most) share of the side, 0 < least <= most <= 1, not {self.size}")

    def hides(self) -> bool:
        return True

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        (n, _, height, width), most = images.shape, self.count[1]
        size = drawn(n * most, self.size, generator).view(n, most) * min(height, width)
        there = torch.arange(most) < drawn_whole(n, self.count, generator)[:, None]
        side = size.round().clamp(min=1) * there
        down, right = torch.rand(2, n, most, generator=generator)
        top, left = (down * height - side / 2).round(), (right * width - side / 2).round()
        where = rectangles(top, left, side, side, height, width).to(images)
        return hide(images, where, self.filled, generator), where
