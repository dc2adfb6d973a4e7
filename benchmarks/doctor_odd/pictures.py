"""Real pictures that come with packages: handwritten digits, photographs, textures and faces, split once and for all.

Shapes: N pictures, C channels, H, W; values 0..1.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data as photographs_of
from sklearn.datasets import load_digits
from torch import Tensor

TRAINED_ON = 1297
"""Digits of the first writers; the last 500 are held out."""


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(1297, 1, 8, 8) float and their labels to train on, then 500 more held out."""
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bunch.target, dtype=torch.long)
    return images[:TRAINED_ON], labels[:TRAINED_ON], images[TRAINED_ON:], labels[TRAINED_ON:]


@cache
def photographs(side: int = 16, count: int = 600, held_out: bool = False) -> Tensor:
    """(count, 3, side, side) float: windows of six photographs; those held out come from the lowest third of each."""
    of = photographs_of
    arrays = [of.astronaut(), of.chelsea(), of.coffee(), of.rocket(), of.retina(), of.immunohistochemistry()]
    whole = [torch.tensor(picture.copy()).permute(2, 0, 1).float() / 255 for picture in arrays]
    rng = np.random.default_rng(1 if held_out else 0)
    windows = []
    for number in range(count):
        picture = whole[number % 6]
        height, width = picture.shape[1:]
        first, last = (height * 2 // 3, height) if held_out else (0, height * 2 // 3)
        length = int(rng.integers(32, 96))
        top, left = int(rng.integers(first, last - length)), int(rng.integers(0, width - length))
        window = picture[None, :, top : top + length, left : left + length]
        windows.append(F.interpolate(window, (side, side), mode="area")[0])
    return torch.stack(windows)


@cache
def textures(side: int = 16, count: int = 600, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """(count, 1, side, side) float windows of brick, grass and gravel, and which of the three (count,)."""
    arrays = [photographs_of.brick(), photographs_of.grass(), photographs_of.gravel()]
    whole = [torch.tensor(picture.copy()).float() / 255 for picture in arrays]
    rng = np.random.default_rng(3 if held_out else 2)
    windows = []
    for number in range(count):
        picture = whole[number % 3]
        first, last = (384, 512) if held_out else (0, 384)
        top, left = int(rng.integers(first, last - 2 * side)), int(rng.integers(0, 512 - 2 * side))
        window = picture[None, None, top : top + 2 * side, left : left + 2 * side]
        windows.append(F.avg_pool2d(window, 2)[0])
    return torch.stack(windows), torch.arange(count) % 3


@cache
def faces() -> tuple[Tensor, Tensor]:
    """(80, 1, 24, 24) float faces to train on, and 20 held out."""
    grey = torch.tensor(photographs_of.lfw_subset()[:100], dtype=torch.float32)[:, None, :24, :24]
    return grey[:80], grey[80:]
