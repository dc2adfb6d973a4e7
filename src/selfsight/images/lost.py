"""How much of a picture is lost in another that was made from it: one number for masks, gray copies, blur and noise.

lost = 1 - r^2, r the correlation of the two over all pixels and channels, each channel about its own mean: the share of
the picture's variance that the best a x + b of what is left does not explain, with one a for the picture and one b for
each channel. So

- what is left as it was loses 0, and so does a picture that is only darker, paler, inverted or tinted;
- one in which nothing is left but a single colour loses 1;
- a hole loses the share of the variance that lies in it, which over many pictures is its share of the area (CowMask, on
  average half of the area: 0.52 of emoji and of photographs); a gray copy that of the colours, a blur that of the
  detail; noise of variance s on a picture of variance v loses s / (v + s).

It counts contrast, not pixels: a hole in a white background loses little, and of pictures whose contrast is that of
large shapes a blur loses little. A colour that is the same everywhere is three numbers, and counts for nothing.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1 / (12 * 255**2)
"""Variance of what eight bits round away: pictures that vary less have nothing to lose."""


def lost(images: Tensor, left: Tensor) -> Tensor:
    """(N, C, H, W), (N, C, H, W) float in [0, 1] -> (N,) in [0, 1], never NaN: of a flat picture nothing is lost."""
    about, kept = _centred(images), _centred(left)
    power, power_kept = (torch.linalg.vector_norm(values, dim=1).square() for values in (about, kept))
    shared = (about * kept).sum(1).square()
    least = ROUNDING * about.shape[1]
    # A millionth of it lies well above what the rounding of its mean leaves of a flat picture in single precision.
    explained = shared / power_kept.clamp(min=1e-6 * least)
    return ((power - explained) / power.clamp(min=least)).clamp(0, 1)


def _centred(images: Tensor) -> Tensor:
    """(N, C H W), each channel about its mean, in at least single precision."""
    values = images.flatten(2).to(torch.promote_types(images.dtype, torch.float32))
    return (values - values.mean(2, keepdim=True)).flatten(1)
