"""CowMask: patches like those of a cow are hidden, smooth of outline and of no preferred place or shape.

French, Oliver, Salimans 2020, "Milking CowMask for Semi-Supervised Image Classification", and google-research's
milking_cowmask. We depart in two ways: the share that is hidden is exact, not so on average, and widths are shares of
the side, so that patches look alike at every size; the usual ones are theirs, 4 to 16 pixels, on a picture of 64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Generator, Tensor

from selfsight.corruption import Corruption, check_range, drawn
from selfsight.images.holes import Filling, hide
from selfsight.images.masks import cow


@dataclass(frozen=True, kw_only=True)
class CowMask(Corruption):
    """Good as the first mask to try: no straight edge that a network could know it by, and every place is hidden as
    often. Poor where the whole shape is what counts."""

    share: tuple[float, float] = (0.25, 0.75)
    """Of the picture that is hidden, (least, most) in (0, 1), to a whole pixel."""
    sigma: tuple[float, float] = (1 / 16, 1 / 4)
    """Deviation of the Gaussian that smooths the noise, as a share of the shorter side, (least, most) from 1/64 to 1,
    drawn evenly in the logarithm: wide gives large patches."""
    filled: Filling = "mean"
    """What is seen in place of the hidden: mean colour of what is left, gray, or noise."""

    def check(self) -> None:
        check_range("share", self.share, "share of the picture that is hidden", 0, 1, closed=False)
        check_range("sigma", self.sigma, "share of the side", 1 / 64, 1)

    def hides(self) -> bool:
        return True

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, _, height, width = images.shape
        share = drawn(n, self.share, generator)
        sigma = drawn(n, (math.log(self.sigma[0]), math.log(self.sigma[1])), generator).exp()
        where = cow(share, sigma, height, width, generator).to(images)
        return hide(images, where, self.filled, generator), where
