"""Where pictures are hidden: rectangles, patches like a cow's, squares in a pattern.

CowMask: French, Oliver, Salimans 2020, "Milking CowMask for Semi-Supervised Image Classification": smooth noise, and a
threshold. Here the noise is a sum of Gaussians about points of a coarse grid, which costs the same for every width, and
the threshold is the picture's own quantile, so that exactly the share that was asked for is hidden. Pattern: Pham and
Le 2021, "AutoDropout: Learning Dropout Patterns to Regularize Deep Networks": a square repeated along two directions,
turned and sheared.

Masks are made on the CPU, from draws made there, so that they are the same for every device. Shapes: N images, H
height, W width; masks (N, 1, H, W) float32, 1 where the picture is hidden. Lengths are in pixels unless told otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

from selfsight.images.resample import separable

REACH = 3
"""Deviations beyond a picture's border as far as which noise is drawn: a Gaussian is 1 % of its height there."""


def rectangles(top: Tensor, left: Tensor, tall: Tensor, wide: Tensor, height: int, width: int) -> Tensor:
    """1 inside any of K rectangles: four (N, K) of whole pixels, which may reach over the border -> (N, 1, H, W)."""
    rows, columns = (
        ((torch.arange(side) >= first[..., None]) & (torch.arange(side) < (first + length)[..., None])).float()
        for first, length, side in ((top, tall, height), (left, wide, width))
    )
    return torch.bmm(rows.transpose(1, 2), columns).clamp(max=1).unsqueeze(1)


def cow(share: Tensor, sigma: Tensor, height: int, width: int, generator: Generator) -> Tensor:
    """Patches that cover exactly `share` (N,) of each picture, in whole pixels, at least one and never all.

    sigma (N,): the noise's deviation as a share of the shorter side, > 0.
    """
    points = math.ceil(1 / float(sigma.min()))  # along the shorter side: less than one deviation apart, no grid shows
    margin = math.ceil(REACH * float(sigma.max()) * points)
    sides = [math.ceil(points * side / min(height, width)) + 2 * margin for side in (height, width)]
    noise = torch.randn(len(share), 1, *sides, generator=generator)
    bells = {  # the same along both sides of a square
        side: _bells(side, count, points / min(height, width), margin, sigma * points)
        for side, count in zip((height, width), sides, strict=True)
    }
    field = separable(noise, bells[height], bells[width]).flatten(1)
    count = (share * height * width).round().long().clamp(1, height * width - 1)
    # 256 rows of 4,096 numbers take numpy 5 ms and torch 98 ms.
    edge = torch.from_numpy(np.sort(field.numpy(), axis=1)).gather(1, count[:, None] - 1)
    return (field <= edge).float().view(len(share), 1, height, width)


def _bells(side: int, count: int, scale: float, margin: int, sigma: Tensor) -> Tensor:
    """(N, side, count): the height above each of `side` pixels of a Gaussian about each of `count` points."""
    pixel = (torch.arange(side) + 0.5) * scale + margin - 0.5
    apart = pixel[:, None] - torch.arange(count)
    return torch.exp(-0.5 * (apart / sigma[:, None, None]) ** 2)


def pattern(
    size: Tensor, step: Tensor, repeat: Tensor, points: Tensor, centre: Tensor, height: int, width: int
) -> Tensor:
    """`repeat` x `repeat` squares of `size`, begun every `step` along two directions.

    size, step, repeat (N,), the first two as shares of the shorter side. points (N, 2, 2): the place (x, y) of the
    picture, from the centre of the pattern, lies at points @ (x, y) of the upright pattern. centre (N, 2): (x, y) of
    the pattern's centre as shares of width and height.
    """
    short = min(height, width)
    x = ((torch.arange(width) + 0.5) - centre[:, :1] * width)[:, None, :] / short
    y = ((torch.arange(height) + 0.5) - centre[:, 1:] * height)[:, :, None] / short
    size, step, repeat = (value[:, None, None] for value in (size, step, repeat))
    inside = torch.ones(len(size), height, width, dtype=torch.bool)
    for row in points.unbind(1):
        at = (row[:, 0, None, None] * x + row[:, 1, None, None] * y) / step + repeat / 2
        inside &= (at >= 0) & (at < repeat) & ((at - at.floor() - 0.5).abs() * step < size / 2)
    return inside.float().unsqueeze(1)
