"""Losses that keep an embedding from collapsing by its own statistics.

Shapes: N images, V pictures of each, P projection.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-4
"""Added to a variance before its root (Bardes et al. 2022, section 4.1)."""


def variance(z: Tensor, target: float = 1.0) -> Tensor:
    """Mean over dimensions of how far the standard deviation falls short of `target`. z (N, P) -> scalar.

    Equation 1 of Bardes et al. 2022.
    """
    return torch.relu(target - (z.var(0) + EPSILON).sqrt()).mean()


def covariance(z: Tensor) -> Tensor:
    """Sum of the squared off-diagonal covariances, over P. z (N, P) -> scalar. Equations 3 and 4, ibid."""
    centred = z - z.mean(0)
    products = centred.T @ centred / (len(z) - 1)
    return (products.pow(2).sum() - products.diagonal().pow(2).sum()) / z.shape[1]


def disagreement(z: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of the pictures of an image, over its pairs, images and P. z (N, V, P) -> scalar.

    weight (N, V), above 0: a pair counts by the product of both its pictures'.
    """
    first, second = torch.triu_indices(z.shape[1], z.shape[1], 1, device=z.device)
    far = (z[:, first] - z[:, second]).square().mean(2)
    if weight is None:
        return far.mean()
    counts = weight[:, first] * weight[:, second]
    return (far * counts).sum() / counts.sum()
