"""An image file on disk as an item, and what the names of files and folders say. Torch-free."""

from __future__ import annotations

import os
from functools import lru_cache, partial

from selfsight.source import Item

_ENDINGS = (
    "jpg jpeg jpe jfif mpo png apng webp bmp dib gif tif tiff ppm pgm pbm pnm avif jp2 j2k jpx qoi ico pcx heic heif"
)
EXTENSIONS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Endings of files that claim to be an image, in lower case. Some of them can seldom be read (HEIC): they are listed
all the same, so that they end among the skipped with the reason and not in silence."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "test", "testing", "t10k", "eval"),
    "unsup": ("unsup", "unsupervised", "unlabelled", "unlabeled"),
}


@lru_cache(maxsize=1024)
def split_named(name: str) -> str | None:
    """The split that a folder, key or column value stands for: "train", "val", "unsup"; None where it is none."""
    return next((split for split, names in SPLITS.items() if name.strip().lower() in names), None)


def stamp(path: str | os.PathLike[str]) -> str:
    """Changes when the file may have changed.

    The time of the last change of the directory entry (ctime) is part of it, since archives and package installers set
    one and the same modification time for every file, and raw formats of one size have one length.
    """
    try:
        status = os.stat(path)
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def printable(name: str) -> str:
    """A file name as text that can be written anywhere: bytes that are no UTF-8 become \\xNN."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def content(path: str) -> bytes:
    """All of a file."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def file_item(path: str | os.PathLike[str], name: str, label: str | None, split: str | None) -> Item:
    """The file at `path` as an item; images of the split "unsup" never carry a label."""
    return Item(name, partial(content, os.fspath(path)), stamp(path), None if split == "unsup" else label, split)
