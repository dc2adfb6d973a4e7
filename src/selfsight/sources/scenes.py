"""Scenes of several objects, drawn as they are asked for: `scenes:4000` on the command line. See images/scenes.py."""

from __future__ import annotations

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from selfsight.errors import UserError
from selfsight.images.scenes import Scene, scene
from selfsight.source import Item, Source

EVERY = 37
"""Of the 737,280 published sprites every 37th is kept: 19,927 of all shapes, scales, turns and places, in 82 MB. 37
divides none of their numbers (3, 6, 40, 32, 32)."""


@dataclass(frozen=True, kw_only=True)
class Scenes(Source):
    """Good for judging what takes pictures apart: the truth is known, and every scene can be made again. Poor as a
    stand-in for photographs. Labels are the numbers of objects; the last fifth is val."""

    count: int = 4000
    """Scenes; at least 2."""
    seed: int = 0
    """Others for another number."""
    side: int = 64
    """Pixels, at least 16."""
    objects: tuple[int, int] = (2, 4)
    """Fewest and most objects, 1 to 6."""
    shading: float = 0.0
    """By how much light falls off over each object and the background, at most, in [0, 1]: 0 is flat colours."""
    sprites: str | None = None
    """The published dSprites (dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz, whose `imgs` are read; or any .npz with
    `x_train`, (M, 64, 64)); None draws the shapes by the same description."""

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"count is a number of scenes, at least 2, not {self.count}")
        if self.side < 16:
            raise ValueError(f"side is in pixels, at least 16, or shapes cannot be told apart; not {self.side}")
        if not 1 <= self.objects[0] <= self.objects[1] <= 6:
            raise ValueError(f"objects is (fewest, most), 1 to 6, not {self.objects}")
        if not 0 <= self.shading <= 1:
            raise ValueError(f"shading is a share of the light in [0, 1], not {self.shading}")

    def open(self) -> list[Item]:
        """Items named train/00017 or val/00017. Raises UserError where the sprites cannot be read."""
        if self.sprites is not None:
            shapes(self.sprites)
        digits, train = len(str(self.count - 1)), self.count - max(1, self.count // 5)
        return [
            Item(
                name=f"{split}/{number:0{digits}}",
                read=functools.partial(self._picture, number),
                stamp=f"{self} {number}",
                label=f"{self.scene(number).objects} objects",
                split=split,
            )
            for number in range(self.count)
            for split in ["train" if number < train else "val"]
        ]

    def scene(self, number: int) -> Scene:
        """One scene with its truth."""
        sprites = None if self.sprites is None else shapes(self.sprites)
        return scene(number, self.seed, side=self.side, objects=self.objects, shading=self.shading, sprites=sprites)

    def _picture(self, number: int) -> Image.Image:
        return Image.fromarray(self.scene(number).image)


@functools.lru_cache(maxsize=2)
def shapes(path: str) -> np.ndarray:
    """(M, 64, 64) bool: the sprites in a file, read once. Raises UserError where there are none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"There are no sprites at {path}: give the published .npz of dSprites, or leave sprites out.")
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((one for one in ("imgs.npy", "x_train.npy") if one in archive.namelist()), None)
            if name is None:
                raise UserError(f"{path} holds {archive.namelist()}: expected imgs, as in the published dSprites.")
            with archive.open(name) as stream:
                return _thinned(stream, EVERY if name == "imgs.npy" else 1)
    except (zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"{path} cannot be read as a .npz of sprites: {error}.") from error


def _thinned(stream: object, every: int) -> np.ndarray:
    """Every so-many-th picture of a .npy as it streams by, as bool: the whole would take 3 GB."""
    major, _ = np.lib.format.read_magic(stream)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(stream)  # type: ignore[arg-type]
    if len(shape) != 3 or fortran or kind.itemsize != 1:
        raise ValueError(f"its pictures are {shape} of {kind}; (M, 64, 64) of one byte a pixel are understood")
    size, kept = shape[1] * shape[2], list[np.ndarray]()
    for number in range(shape[0]):
        row = stream.read(size)  # type: ignore[attr-defined]
        if number % every == 0:
            kept.append(np.frombuffer(row, np.uint8).reshape(shape[1:]) > 0)
    return np.stack(kept)
