"""What JPEG leaves of a picture: 8 x 8 cosine transforms, rounded to multiples of a table.

ITU-T T.81 (1992), annexes A and K.1, without the lossless coding that follows; the tables scale with the quality as in
libjpeg, and values are whole numbers where its are. Colour is kept at full resolution (4:4:4).

Shapes: N images, C channels (1 or 3), H height, W width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
"""Table K.1: steps of the luma's 64 coefficients at quality 50."""
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
"""Table K.2: the same for the two colour differences."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""JFIF: luma, blue difference, red difference."""


def jpeg(images: Tensor, quality: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Each image as JPEG of its own quality gives it back: (N, C, H, W) in [0, 1], (N,) in 1..100.

    corner: (down, right) in pixels, where the first whole block begins, so that a network cannot know the grid.
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(f"JPEG knows 1 or 3 channels, not {images.shape[1]}: give gray or colour images")
    height, width = images.shape[-2:]
    top, left = (-place % 8 for place in corner)
    padded = F.pad(images, (left, -(width + left) % 8, top, -(height + top) % 8), mode="replicate")
    values = torch.round(padded * 255)
    to = torch.tensor(TO_YCC, device=images.device, dtype=images.dtype)
    if images.shape[1] == 3:
        values = torch.einsum("dc,nchw->ndhw", to, values).round()
    values = _rounded(values - _middle(values), quality) + _middle(values)
    values = values.round()  # as libjpeg holds them
    if images.shape[1] == 3:
        values = torch.einsum("cd,ndhw->nchw", torch.linalg.inv(to), values)
    back = torch.round(values).clamp(0, 255) / 255
    return back[..., top : top + height, left : left + width]


def _middle(values: Tensor) -> Tensor:
    """128 for the luma, nothing for the colour differences, which lie about zero already."""
    offsets = torch.tensor([128.0, 0.0, 0.0], device=values.device, dtype=values.dtype)
    return offsets[: values.shape[1], None, None]


def _rounded(values: Tensor, quality: Tensor) -> Tensor:
    """Cosine transform of each block, rounded to multiples of the quality's table, and back."""
    cosines = _cosines().to(values)
    blocks = values.unfold(-2, 8, 8).unfold(-2, 8, 8)  # (N, C, rows, columns, 8, 8)
    steps = _tables(quality, values.shape[1]).to(values)[:, :, None, None]
    kept = torch.round(cosines @ blocks @ cosines.T / steps) * steps
    return (cosines.T @ kept @ cosines).permute(0, 1, 2, 4, 3, 5).reshape(values.shape)


def _cosines() -> Tensor:
    """(8, 8): the orthonormal cosine transform."""
    k, x = torch.arange(8.0)[:, None], torch.arange(8.0)
    waves = torch.cos((2 * x + 1) * k * math.pi / 16) / 2
    waves[0] /= math.sqrt(2)
    return waves


def _tables(quality: Tensor, channels: int) -> Tensor:
    """(N, C, 8, 8): the steps, as libjpeg scales them."""
    quality = quality.float().clamp(1, 100)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).floor()
    tables = torch.tensor((LUMA, CHROMA, CHROMA)[:channels], device=quality.device).float()
    return ((tables * percent[:, None, None, None] + 50) / 100).floor().clamp(1, 255)
