"""Alignment and uniformity on the unit sphere, without labels.

Wang, Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere"
(ICML 2020), section 4.1, with their alpha = 2 and t = 2. Alignment alone is perfect for a constant, uniformity alone
for noise: only the pair says something, and only beside the same network untrained.

Shapes: N images, D features; z1[i] and z2[i] are two views of image i.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfsight.maths.nearest import blocks, unit


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Mean squared distance of two views on the unit sphere: 0 (the same point) to 4 (opposite); 2 where unrelated.

    z1, z2 (N, D), of any length (they are normalised).
    """
    return float((unit(z1) - unit(z2)).double().pow(2).sum(1).mean())


def uniformity(z: Tensor) -> float:
    """Log of the mean Gaussian potential exp(-2 |x - y|²) over all pairs of different images; lower is more uniform.

    z (N, D), N >= 2, of any length (normalised). 0 for a single point, about -4 for a sphere of many dimensions; never
    below -8.
    """
    rows = unit(z)
    count = len(rows)
    total = 0.0
    for which, products in blocks(rows, rows):
        potential = torch.exp(4 * products.double() - 4)  # |x - y|² = 2 - 2 x·y
        itself = potential[torch.arange(len(potential)), torch.arange(which.start, which.stop)]
        total += float(potential.sum() - itself.sum())
    return math.log(total / (count * (count - 1)))
