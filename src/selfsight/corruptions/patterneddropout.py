"""PatternedDropout: squares of a regular pattern are hidden, which is turned, sheared and laid anywhere.

Pham and Le 2021, "AutoDropout: Learning Dropout Patterns to Regularize Deep Networks", whose controller chooses size,
stride, repeat, rotate, shear_x and shear_y; here they are drawn. Theirs are of feature maps, where channels may share a
pattern or not and a residual branch may be spared; a picture is hidden in all channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn, drawn_whole
from selfsight.images.holes import Filling, hide
from selfsight.images.masks import pattern
from selfsight.images.warp import matrices


@dataclass(frozen=True, kw_only=True)
class PatternedDropout(Corruption):
    """Good where a policy is to choose a mask by a few numbers. Poor with small squares: every pixel has neighbours
    that are left, and what is hidden can be guessed from them."""

    size: tuple[float, float] = (0.1, 0.25)
    """Side of a square as a share of the picture's shorter side, (least, most) in (0, 1]."""
    stride: tuple[float, float] = (1.3, 2.5)
    """From one square's beginning to the next one's, in sides of a square, (least, most), at least 1.1."""
    repeat: tuple[int, int] = (3, 8)
    """Squares along each of the two directions, (least, most), at least 1."""
    rotate: tuple[float, float] = (0.0, 90.0)
    """Turn in degrees, counter-clockwise, (least, most) from -180 to 180."""
    shear_x: tuple[float, float] = (-0.3, 0.3)
    """How far the columns lean, in pixels a row, (least, most) between -1 and 1."""
    shear_y: tuple[float, float] = (-0.3, 0.3)
    """How far the rows lean, in pixels a column, (least, most) between -1 and 1."""
    filled: Filling = "mean"
    """What is seen in place of the hidden: mean colour of what is left, gray, or noise."""

    def check(self) -> None:
        if not 0 < self.size[0] <= self.size[1] <= 1:
            raise ValueError(f"size is (least, most) share of the side, 0 < least <= most <= 1, not {self.size}")
        check_range("stride", self.stride, "sides of a square", 1.1)
        check_range("repeat", self.repeat, "squares along each direction", 1)
        check_range("rotate", self.rotate, "degrees", -180, 180)
        for name in ("shear_x", "shear_y"):
            check_range(name, getattr(self, name), "pixels", -1, 1, closed=False)

    def hides(self) -> bool:
        return True

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, _, height, width = images.shape
        size, stride = drawn(n, self.size, generator), drawn(n, self.stride, generator)
        repeat = drawn_whole(n, self.repeat, generator)
        angle = drawn(n, self.rotate, generator) * (torch.pi / 180)
        cos, sin, one = angle.cos(), angle.sin(), torch.ones(n)
        leant = matrices(one, drawn(n, self.shear_x, generator), drawn(n, self.shear_y, generator), one)
        points = torch.linalg.inv(leant) @ matrices(cos, -sin, sin, cos)
        centre = torch.rand(n, 2, generator=generator)
        where = pattern(size, size * stride, repeat, points, centre, height, width).to(images)
        return hide(images, where, self.filled, generator), where
