"""A torchvision data set by name.

torchvision's sets agree on little: some divide by `train=True`, some by `split="test"`, some not at all; class numbers
are kept under half a dozen names. What is here was read off their signatures and attributes, and is tried in order.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from selfsight.errors import UserError, nearest
from selfsight.source import Item, Source
from selfsight.sources import stack
from selfsight.sources.file import stamp

DIVISIONS: dict[str, tuple[tuple[str, Any], ...]] = {
    "train": (("train", True),),
    "split": (("train", "train"), ("val", "val"), ("val", "valid"), ("val", "test"), ("unsup", "unlabeled")),
    "image_set": (("train", "train"), ("val", "val"), ("val", "test")),
}
"""Parameter that divides a set -> (our split, its value). `val` and `test` both become "val"."""
TARGETS = ("targets", "labels", "_labels", "y")
FILES = ("samples", "_samples", "imgs", "_image_files", "_images", "images")


@dataclass(frozen=True)
class TorchvisionSet(Source):
    """Good for the usual benchmarks. Poor for sets whose answer is not one class (detection, captions): unlabelled."""

    name: str
    """As in torchvision.datasets: CIFAR10, STL10, FashionMNIST, Flowers102 ..."""
    root: str = "data"
    """Folder it was downloaded to; `~` is the home."""
    download: bool = False
    """Whether to fetch it where it is not there."""

    def open(self) -> list[Item]:
        """Items named "train/00017", "val/...": train as "train", val and test as "val", unlabeled as "unsup".

        Raises UserError where the name is unknown or the set is not in `root`.
        """
        import torchvision

        known = [name for name in torchvision.datasets.__all__ if name[0].isupper()]
        if self.name not in known:
            raise UserError(f"torchvision has no data set {self.name!r}{nearest(self.name, known)}.")
        maker = getattr(torchvision.datasets, self.name)
        parts = self._parts(maker)
        return [item for key, (split, part) in sorted(parts.items()) for item in self._items(part, key, split)]

    def _parts(self, maker: Any) -> dict[str, tuple[str | None, Any]]:
        """Name of the part -> (our split, the opened set). Parts that a set does not have are left out."""
        accepted = inspect.signature(maker.__init__).parameters
        given: dict[str, Any] = {"root": str(Path(self.root).expanduser())} if "root" in accepted else {}
        if self.download and "download" in accepted:
            given["download"] = True
        divider = next((name for name in DIVISIONS if name in accepted), None)
        if divider is None:
            return {"": (None, self._made(maker, given))}
        choices = DIVISIONS[divider] if divider != "train" else (("train", True), ("val", False))
        parts: dict[str, tuple[str | None, Any]] = {}
        refused: Exception | None = None
        for split, value in choices:
            try:
                parts[value if isinstance(value, str) else split] = split, self._made(maker, given | {divider: value})
            except _NoSuchPart as error:
                refused = error
        if not parts:
            raise UserError(f"torchvision's {self.name} has none of the usual parts: {refused}.")
        return parts

    def _made(self, maker: Any, given: dict[str, Any]) -> Any:
        try:
            return maker(**given)
        except ValueError as error:  # "Unknown value 'val' for argument split"
            raise _NoSuchPart(str(error).split("\n")[0]) from error
        except ImportError as error:
            raise UserError(f"torchvision's {self.name} needs another package: {error}") from error
        except TypeError as error:
            raise UserError(f"torchvision's {self.name} cannot be opened by name alone: {error}.") from error
        except Exception as error:  # each set has its own way of saying that it is not there
            how = "" if self.download else ", or set download=True"
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise UserError(
                f"torchvision's {self.name} could not be opened in {self.root}: {reason}. Give the root it is in{how}."
            ) from error

    def _items(self, part: Any, key: str, split: str | None) -> list[Item]:
        labels = None if split == "unsup" else _labels(part)
        data = getattr(part, "data", None)
        pixels = np.asarray(data) if data is not None and len(data) == len(part) else None
        files = _kept(part, FILES)
        width, prefix = len(str(max(1, len(part) - 1))), f"{key}/" if key else ""
        items = []
        for number in range(len(part)):
            if pixels is not None and pixels.dtype != object:
                mark = stack.digest(pixels[number])
            else:
                mark = _file_stamp(files[number]) if files is not None else f"{self.name} {len(part)} {number}"
            read = functools.partial(_picture, part, number)
            items.append(Item(f"{prefix}{number:0{width}}", read, mark, labels[number] if labels else None, split))
        return items


class _NoSuchPart(Exception):
    """The set has no part of this name."""


def _picture(part: Any, number: int) -> Image.Image:
    picture = part[number][0]
    if not isinstance(picture, Image.Image):
        raise ValueError(f"the data set gives a {type(picture).__name__} and no image")
    return picture


def _file_stamp(sample: Any) -> str:
    path = sample[0] if isinstance(sample, tuple) else sample
    return stamp(path) if isinstance(path, str | Path) else str(path)


def _kept(part: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes that has one entry per image; None where there is none."""
    kept: Any = (getattr(part, name, None) for name in names)
    return next((values for values in kept if hasattr(values, "__len__") and len(values) == len(part)), None)


def _labels(part: Any) -> list[str | None] | None:
    """The class of every image by name; None where the set keeps no list of one number per image."""
    found = _kept(part, TARGETS)
    if found is None:
        found = [pair[1] for pair in _kept(part, FILES) or () if isinstance(pair, tuple) and len(pair) == 2]
    if np.shape(found) != (len(part),) or np.asarray(found).dtype.kind not in "iu":
        return None
    numbers: list[int] = np.asarray(found).tolist()
    classes = list(getattr(part, "classes", None) or getattr(part, "categories", None) or ())
    texts = [c[0] if isinstance(c, tuple) else str(c) for c in classes]
    return [None if n < 0 else texts[n] if n < len(texts) else str(n) for n in numbers]
