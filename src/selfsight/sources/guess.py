"""Which source a path is, so that the command line can take any of them as `--data`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from selfsight.errors import UserError
from selfsight.source import Source
from selfsight.sources import arrays, file, idx, manifest
from selfsight.sources.arrays import Arrays
from selfsight.sources.folder import Folder
from selfsight.sources.huggingface import HuggingFace
from selfsight.sources.idx import Idx
from selfsight.sources.manifest import Manifest
from selfsight.sources.packed import Packed
from selfsight.sources.scenes import Scenes
from selfsight.sources.torchvision_set import TorchvisionSet

ACCEPTED = (
    "a folder of images, a store, a folder of IDX files or of a saved Hugging Face data set, "
    f"a table ({', '.join(manifest.ENDINGS)}), an array file ({', '.join(arrays.ENDINGS)}), "
    "torchvision:NAME, or scenes:NUMBER"
)
NAMED = ("torchvision:", "scenes:")
"""How a name begins that is no path."""
SAVED_SETS = ("dataset_dict.json", "dataset_info.json", "state.json")


def located(data: Any) -> Source:
    """The source that a user's words are: a source itself, a name, or a path from the folder they stand in."""
    if isinstance(data, Source):
        return data
    words = str(data)
    return guess(words if words.startswith(NAMED) else os.path.abspath(os.path.expanduser(words)))


def guess(path: str) -> Source:
    """The source that `path` is; "torchvision:NAME" or "torchvision:NAME:ROOT" is a data set of torchvision's;
    "scenes:4000" are so many drawn scenes.

    Raises UserError where there is nothing at `path` or nothing that is known.
    """
    if path.startswith("torchvision:"):
        name, _, root = path.removeprefix("torchvision:").partition(":")
        return TorchvisionSet(name, root) if root else TorchvisionSet(name)
    if path.startswith("scenes:"):
        count = path.removeprefix("scenes:")
        if not count.isdigit() or int(count) < 2:
            raise UserError(f"scenes: is followed by a number of scenes, scenes:4000 for example, not {count!r}.")
        return Scenes(count=int(count))
    place = Path(path).expanduser()
    if place.is_dir():
        names = {entry.name for entry in place.iterdir()}
        if "store.json" in names:
            return Packed(path)
        if any(idx.IMAGES.match(name) for name in names):
            return Idx(path)
        return HuggingFace(path) if names & set(SAVED_SETS) else Folder(path)
    ending = place.suffix.lower()
    if not place.exists():
        if place.parent.is_dir() and any(idx.IMAGES.match(entry.name) for entry in place.parent.glob(f"{place.name}*")):
            return Idx(path)
        raise UserError(f"{path} does not exist. Give {ACCEPTED}.")
    if ending in manifest.ENDINGS:
        return Manifest(path)
    if ending in arrays.ENDINGS:
        return Arrays(path)
    if ending in file.EXTENSIONS:
        raise UserError(f"{path} is a single image. Give the folder it is in.")
    if ending in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
        raise UserError(f"{path} is an archive. Unpack it and give the folder.")
    raise UserError(f"{path} is of a kind that is not known here. Give {ACCEPTED}.")
