"""CropOut: one rectangle of a picture is kept, and all around it hidden.

Not a hole to be closed from all sides but a picture to be continued, as Teterwak et al. 2019, "Boundless: Generative
Adversarial Networks for Image Extension", continue it to one side. Along the edges, two of them can show different
halves of a picture, which share nothing but what it is of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn
from selfsight.images.holes import Filling, hide
from selfsight.images.masks import rectangles

SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True, kw_only=True)
class CropOut(Corruption):
    """Good for a generator that imagines surroundings. Poor where things fill a small part of the picture: often all of
    it is hidden, or none of it."""

    kept: tuple[float, float] = (0.25, 0.5)
    """Share of the picture's area that is kept, (least, most) in (0, 1), to whole pixels."""
    ratio: tuple[float, float] = (0.5, 2.0)
    """Width over height of the kept rectangle, (least, most); it bends where the rectangle would not fit."""
    lies: Literal["anywhere", "edge", "side", "top", "bottom", "left", "right"] = "anywhere"
    """anywhere; edge: touching one of the picture's four edges; side: all along one of them, as wide or as tall as the
    picture whatever the ratio: a half, with kept (0.5, 0.5); top, bottom, left, right: all along this one."""
    filled: Filling = "mean"
    """What is seen in place of the hidden: mean colour of what is left, gray, or noise."""

    def check(self) -> None:
        check_range("kept", self.kept, "share of the area that is kept", 0, 1, closed=False)
        check_range("ratio", self.ratio, "width over height of what is kept", 0, closed=False)

    def hides(self) -> bool:
        return True

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        (n, _, height, width) = images.shape
        kept, ratio = drawn(n, self.kept, generator), _ratios(n, self.ratio, generator)
        edge = torch.randint(len(SIDES), (n,), generator=generator)
        if self.lies in SIDES:
            edge.fill_(SIDES.index(self.lies))
        across, whole = edge < 2, self.lies in ("side", *SIDES)
        wide = (kept * height * width * ratio).sqrt()
        if whole:
            wide = torch.where(across, torch.tensor(float(width)), kept * width)
        wide = torch.maximum(wide, kept * width).round().clamp(1, width)  # no taller than the picture
        tall = (kept * height * width / wide).round().clamp(1, height)
        if whole:
            tall = torch.where(across, tall, torch.tensor(float(height)))
        down, right = torch.rand(2, n, generator=generator)
        if self.lies != "anywhere":
            down = torch.where(across, (edge == 1).float(), down)
            right = torch.where(across, right, (edge == 3).float())
        top, left = (down * (height - tall)).round(), (right * (width - wide)).round()
        inside = rectangles(top[:, None], left[:, None], tall[:, None], wide[:, None], height, width)
        where = (1 - inside).to(images)
        return hide(images, where, self.filled, generator), where


def _ratios(n: int, between: tuple[float, float], generator: Generator) -> Tensor:
    """(n,) such that wide is as frequent as tall: even in the logarithm."""
    low, high = torch.tensor(between).log().tolist()
    return drawn(n, (low, high), generator).exp()
