"""Softer and sharper: Gaussian blur, median blur, unsharp mask.

The median is that of rows and then of columns (Narendra 1981, "A separable median filter for image noise smoothing"),
which costs k comparisons where the square window costs k^2, and rounds corners a little less.

Shapes: N images, C channels, H height, W width. Images are float in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.images.resample import blur_matrix, separable


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, each image with its own deviation, borders reflected: (N, C, H, W), (N,) pixels > 0."""
    height, width = images.shape[-2:]
    radius = max(1, min(round(3 * float(sigma.max())), min(height, width) - 1))
    return separable(images, blur_matrix(sigma, height, radius), blur_matrix(sigma, width, radius))


def sharpen(images: Tensor, amount: Tensor, sigma: Tensor) -> Tensor:
    """Unsharp mask: `amount` (N,) times what a blur of `sigma` (N,) takes away is added; 0 changes nothing."""
    return (images + amount[:, None, None, None] * (images - blur(images, sigma))).clamp(0, 1)


def median(images: Tensor, side: int) -> Tensor:
    """The median of `side` pixels along each row and then along each column, borders repeated: (N, C, H, W)."""
    if side % 2 == 0 or side < 3:
        raise ValueError(f"a median is taken over an odd number of pixels, at least 3, not {side}: give {side | 1}")
    (height, width), reach = images.shape[-2:], side // 2
    wide = F.pad(images, (reach, reach, 0, 0), mode="replicate")
    rows = _middle([wide[..., i : i + width] for i in range(side)])
    tall = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return _middle([tall[..., i : i + height, :] for i in range(side)])


def _middle(values: list[Tensor]) -> Tensor:
    """The median of an odd number of tensors, element by element, by bubbling the greater half to the end."""
    line = list(values)
    for passed in range(len(line) // 2 + 1):
        for i in range(len(line) - 1 - passed):
            line[i], line[i + 1] = torch.minimum(line[i], line[i + 1]), torch.maximum(line[i], line[i + 1])
    return line[len(line) // 2]
