"""Answers that are kept: made once of every image of a store, and read by the image's place in it.

    answers.json    format, key of the images' store, the restorer, its corruption, counts, seconds, doubts of it
    answers.npy     (N, K, S, S, C) uint8, for `np.load(mmap_mode="r")`
    left.npy        (N, S, S, C) uint8: what the corruption left of each image
    far.npy         (N, K) float32: how far what the corruption leaves of an answer is from what it left of the image
    removed.npy     (N,) float32: the share of the image that was taken away
    sums.npy        (N,) int64: the sum of the image's bytes, by which other images are noticed

Written beside its place and renamed when it is whole and on disk: it is there entirely or not at all.

Shapes: N images, K answers to each, C channels, S side.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsight.errors import UserError
from selfsight.places import mark_of

FORMAT = 1
NAME = "answers.json"


@dataclass(frozen=True)
class Answers:
    """Answers to what was left of some images."""

    answers: Tensor
    """(N, K, C, S, S) uint8."""
    left: Tensor
    """(N, C, S, S) uint8."""
    far: Tensor
    """(N, K), the mean squared difference of what the same corruption leaves of an answer from what was left."""
    removed: Tensor
    """(N,), the share of the image that was taken away."""


@dataclass(frozen=True, eq=False)
class Imagined:
    """Kept answers, open for reading."""

    path: Path
    answers: np.ndarray = field(repr=False)
    left: np.ndarray = field(repr=False)
    far: np.ndarray = field(repr=False)
    removed: np.ndarray = field(repr=False)
    sums: np.ndarray = field(repr=False)
    about: dict[str, Any] = field(repr=False)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Imagined:
        """Raises UserError where there are none, or they are damaged."""
        folder = Path(path)
        if not (folder / NAME).is_file():
            raise UserError(
                f"{path} holds no answers (no {NAME}). Make some: `selfsight imagine RUN IMAGES --out {path}`."
            )
        try:
            about = json.loads((folder / NAME).read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise UserError(f"{path} holds answers of format {about['format']}, not {FORMAT}. Make them again.")
            answers, left, far, removed, sums = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("answers", "left", "far", "removed", "sums")
            )
            shape = (about["images"], about["answers"], about["size"], about["size"], about["channels"])
            if (
                answers.shape != shape
                or answers.dtype != np.uint8
                or not len(far) == len(removed) == len(sums) == shape[0]
            ):
                raise ValueError(f"it holds {answers.shape} {answers.dtype} in place of {shape}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"The answers in {path} are damaged: {error}. Delete it and make them again.") from error
        return Imagined(folder, answers, left, far, removed, sums, about)

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def count(self) -> int:
        """K."""
        return int(self.answers.shape[1])

    def at(self, images: Tensor, index: Tensor, which: Tensor) -> Answers:
        """Of images (N, C, S, S) uint8 at places (N,) the answers `which` (N, k), on the images' device. Raises
        UserError for other images."""
        rows, columns = index.cpu().numpy(), which.cpu().numpy()
        fits = images.shape[1] == self.answers.shape[4] and images.shape[2] == self.answers.shape[2]
        if not fits or rows.max() >= len(self) or (self.sums[rows] != checksums(images)).any():
            raise UserError(
                f"{self.path} holds answers to {len(self):,} other images than these, or to these at another size: "
                "make some to these, `selfsight imagine RUN IMAGES --out OTHER`."
            )
        answers = torch.from_numpy(self.answers[rows[:, None], columns]).permute(0, 1, 4, 2, 3)
        left = torch.from_numpy(self.left[rows]).permute(0, 3, 1, 2)
        far, removed = torch.from_numpy(self.far[rows[:, None], columns]), torch.from_numpy(self.removed[rows])
        return Answers(*(value.to(images.device) for value in (answers, left, far, removed)))


@functools.lru_cache(maxsize=4)
def _kept(path: str, mark: int) -> Imagined:
    return Imagined.open(path)


def kept(path: str) -> Imagined:
    """As `Imagined.open`, but opened once."""
    file = Path(path) / NAME
    return _kept(str(Path(path).resolve()), file.stat().st_mtime_ns if file.exists() else 0)


def is_kept(path: str) -> bool:
    """Whether there are answers at `path`, and not a run."""
    return (Path(path) / NAME).is_file()


def mark(path: str) -> str:
    """A mark of kept answers: of what they were made of and when."""
    return mark_of(Path(path) / NAME)


def checksums(images: Tensor) -> np.ndarray:
    """(N, C, S, S) uint8 -> (N,) int64."""
    return np.asarray(images.flatten(1).sum(1, dtype=torch.int64).cpu().numpy())


class Writing:
    """Arrays of a set of answers while it is made, on disk."""

    def __init__(self, folder: Path, shape: tuple[int, int, int, int, int]) -> None:
        n, k = shape[:2]
        kinds: dict[str, tuple[tuple[int, ...], Any]] = {
            "answers": (shape, np.uint8),
            "left": ((n, *shape[2:]), np.uint8),
            "far": ((n, k), np.float32),
            "removed": ((n,), np.float32),
            "sums": ((n,), np.int64),
        }
        self.folder, self.shape = folder, shape
        self.arrays: dict[str, np.ndarray] = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=size)
            for name, (size, kind) in kinds.items()
        }

    def put(self, rows: slice, images: Tensor, made: Answers) -> None:
        """Images (n, C, S, S) uint8, and what was answered to what was left of them."""
        answers, far, removed = made.answers, made.far, made.removed
        self.arrays["left"][rows] = made.left.permute(0, 2, 3, 1).cpu().numpy()
        self.arrays["answers"][rows] = answers.permute(0, 1, 3, 4, 2).cpu().numpy()
        self.arrays["far"][rows], self.arrays["removed"][rows] = far.cpu().numpy(), removed.cpu().numpy()
        self.arrays["sums"][rows] = checksums(images)

    def close(self, about: dict[str, Any]) -> None:
        """Brings everything to disk, the description last."""
        for array in self.arrays.values():
            array.flush()  # type: ignore[attr-defined]
        names = ("images", "answers", "size", "channels")
        counts = dict(zip(names, (*self.shape[:3], self.shape[4]), strict=True))
        whole = {"format": FORMAT, **counts, **about}
        (self.folder / NAME).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        for file in (*self.folder.iterdir(), self.folder):
            with _opened(file) as descriptor:
                os.fsync(descriptor)


@contextlib.contextmanager
def writing(place: Path, shape: tuple[int, int, int, int, int]) -> Iterator[Writing]:
    """Where answers (N, K, S, S, C) can be put; they take `place` when the block ends well. Raises UserError where
    there is something already, or it cannot be written."""
    if place.exists():
        raise UserError(f"{place} is there already. Delete it, or give another --out.")
    folder = place.parent / f".{place.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"Cannot write answers to {place}: {error.strerror}. Give a place that can be written."
        ) from error
    try:
        yield Writing(folder, shape)
        os.rename(folder, place)
        with _opened(place.parent) as descriptor:
            os.fsync(descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
