"""The small real pictures that the programs train on: they ship with scikit-learn and scikit-image, so nothing is downloaded.

All are (N, C, 32, 32) float in 0..1. They lie sorted by class, as a folder of class folders is read.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor
from torch.nn.functional import interpolate

SIDE = 32
TRAIN = {True: 0, False: 1}


@cache
def digits(train: bool) -> tuple[Tensor, Tensor]:
    """The 8 x 8 digits of UCI, enlarged: (N, 1, 32, 32) and their classes. A part for training, another for validation."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    order = order[:1280] if train else order[1280:1728]
    order = order[np.argsort(bunch.target[order], kind="stable")]
    small = torch.from_numpy(bunch.images[order]).float()[:, None] / 16
    classes = torch.from_numpy(bunch.target[order]).long()
    return interpolate(small, size=(SIDE, SIDE), mode="bilinear"), classes


def _scenes(upright: bool) -> list[Image.Image]:
    """Colour photographs: seven with a clear up and down, and three of stars, tissue and a retina without."""
    arrays = [
        data.astronaut(),
        data.chelsea(),
        data.coffee(),
        data.rocket(),
        data.stereo_motorcycle()[0],
        load_sample_image("china.jpg"),
        load_sample_image("flower.jpg"),
    ]
    if not upright:
        arrays += [data.retina(), data.immunohistochemistry(), data.hubble_deep_field()]
    return [Image.fromarray(array) for array in arrays]


@cache
def photographs(train: bool, share: float = 0.6, each: int = 64, upright: bool = False) -> tuple[Tensor, Tensor]:
    """(10 * each, 3, 32, 32) windows of ten photographs, and which photograph: a window's side is `share` of the picture's shorter one.

    With `upright` they are of the seven photographs that have an up and a down.
    """
    rng = np.random.default_rng(TRAIN[train])
    windows, classes = [], []
    for number, scene in enumerate(_scenes(upright)):
        side = int(min(scene.size) * share)
        for _ in range(each):
            left, top = (int(rng.integers(0, length - side + 1)) for length in scene.size)
            window = scene.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BOX)
            windows.append(np.asarray(window))
            classes.append(number)
    stacked = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() / 255
    return stacked.contiguous(), torch.tensor(classes)


@cache
def shapes(train: bool, each: int = 160) -> tuple[Tensor, Tensor]:
    """(4 * each, 3, 32, 32) discs, squares, crosses and rings of any colour, place and size on a soft ground."""
    rng = np.random.default_rng(10 + TRAIN[train])
    down, across = np.mgrid[0:SIDE, 0:SIDE]
    drawn, classes = [], []
    for kind in range(4):
        for _ in range(each):
            size = rng.uniform(5, 9)
            y, x = rng.uniform(size + 1, SIDE - size - 1, 2)
            dy, dx = np.abs(down - y), np.abs(across - x)
            far = np.hypot(dy, dx)
            inside = (
                far < size,
                np.maximum(dy, dx) < size * 0.9,
                (np.minimum(dy, dx) < size * 0.3) & (np.maximum(dy, dx) < size),
                (far < size) & (far > size * 0.55),
            )[kind]
            ground, ink = rng.uniform(0, 0.45, 3), rng.uniform(0.55, 1, 3)
            slope = 0.15 * (down / SIDE)[..., None] * rng.uniform(-1, 1, 3)
            picture = np.where(inside[..., None], ink, ground + slope) + rng.normal(0, 0.02, (SIDE, SIDE, 3))
            drawn.append(picture.clip(0, 1))
            classes.append(kind)
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float().contiguous(), torch.tensor(classes)
