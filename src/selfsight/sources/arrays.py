"""Images in an array file: .npy, .npz, .pt, .safetensors. Nothing in the file is executed.

In a file of several arrays the names tell what is what, whatever their case: `images` (or x, data, pixels), `labels`
(or y, targets, classes), `splits`; with the name of a split where each split has its own (`train_images`,
`test_labels`, `x_train`: Keras and MedMNIST files need no change).
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsight.errors import UserError
from selfsight.source import Item, Source
from selfsight.sources import stack
from selfsight.sources.file import split_named, stamp

ENDINGS = (".npy", ".npz", ".pt", ".pth", ".safetensors")
ROLES = {
    "images": ("images", "image", "imgs", "x", "data", "pixels", "inputs"),
    "labels": ("labels", "label", "y", "targets", "target", "classes"),
    "splits": ("splits", "split"),
}


@dataclass(frozen=True)
class Arrays(Source):
    """Good for images that are all of one size; a .npy file is memory-mapped, the others are read whole.

    For an array that is in memory see InMemory.
    """

    path: str
    """The file; `~` is the home."""

    def open(self) -> list[Item]:
        """Items named by their row, behind the split's name where there are splits of their own.

        Raises UserError where the file is missing, damaged, of another kind, or holds no array of images.
        """
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UserError(f"{self.path} does not exist. Give an array file ({', '.join(ENDINGS)}).")
        if path.suffix.lower() not in ENDINGS:
            raise UserError(f"{self.path} is no array file; its name must end in one of {', '.join(ENDINGS)}.")
        try:
            found = _READERS[path.suffix.lower()](path)
        except _UNREADABLE as error:
            raise UserError(f"{self.path} cannot be read as plain arrays: {_first_line(error)}") from error
        return [item for name, group in _groups(found, self.path).items() for item in self._items(name, group, path)]

    def _items(self, group: str, arrays: Mapping[str, np.ndarray], path: Path) -> list[Item]:
        images, split = arrays["images"], split_named(group)
        splits: list[str | None] | None = [split] * len(images) if split else None
        if "splits" in arrays:
            splits = [split_named(str(given)) for given in arrays["splits"].tolist()]
        prefix = f"{group}/" if group else ""
        what = f"{self.path}{f' ({group})' if group else ''}"
        return stack.items(
            images, what=what, labels=arrays.get("labels"), splits=splits, prefix=prefix, stamp=stamp(path)
        )


def _groups(found: Mapping[str, np.ndarray], what: str) -> dict[str, dict[str, np.ndarray]]:
    """Split's name in the file ("" for none) -> role -> array."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, array in found.items():
        words = re.split(r"[_\-./ ]+", key.lower())
        role = next((role for role, names in ROLES.items() if set(names) & set(words)), None)
        split = next((word for word in words if split_named(word)), "")
        if role:
            groups.setdefault(split, {})[role] = array
    groups = {split: roles for split, roles in sorted(groups.items()) if "images" in roles}
    if not groups and len(found) == 1:
        return {"": {"images": next(iter(found.values()))}}
    if not groups:
        raise UserError(
            f"{what} holds {sorted(found) or 'nothing'}; name the array of images `images` (labels: `labels`)."
        )
    return groups


def _numpy(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".npy":
        return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _torch(path: Path) -> dict[str, np.ndarray]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are then refused in a sentence
        found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, torch.Tensor):
        found = {"images": found}
    elif isinstance(found, list | tuple):
        found = dict(zip(("images", "labels", "splits"), found, strict=False))
    if not isinstance(found, Mapping):
        raise ValueError(f"it holds a {type(found).__name__}, not a tensor or a dictionary of tensors")
    named = ((str(key), value) for key, value in found.items())
    return {
        key: value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for key, value in named
    }


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
_READERS = {".npy": _numpy, ".npz": _numpy, ".pt": _torch, ".pth": _torch, ".safetensors": _safetensors}
