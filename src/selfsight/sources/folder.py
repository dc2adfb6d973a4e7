"""A folder of image files, of any depth, in whichever of the usual layouts it is.

Layouts, the first that fits:

    train/ val/ unsup/   each flat or of class folders; also training, valid, validation, test (ImageWang, Imagenette)
    cats/ dogs/ ...      class folders: every image exactly one level deep, in at least two folders
    anything else        unlabelled, as deep as it goes

A class is known by its folder's *name*: val may hold a subset of the classes. Hidden files and folders are not looked
at. Symbolic links are followed, once round a loop. Torch-free.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from selfsight.errors import UserError
from selfsight.source import Item, Source
from selfsight.sources.file import EXTENSIONS, file_item, printable, split_named

Parts = tuple[str, ...]
"""A path below the folder: names of folders, then the file's."""


@dataclass(frozen=True)
class Folder(Source):
    """Good for pictures in files. For a list of files with labels beside them use Manifest."""

    path: str
    """The folder; `~` is the home."""
    labels: Literal["auto", "parent", "none"] = "auto"
    """"auto": classes where the layout shows them; "parent": the folder an image lies in; "none": no classes."""

    def open(self) -> list[Item]:
        """Every file with the ending of an image. Raises UserError where there is no folder or no such file."""
        if self.labels not in ("auto", "parent", "none"):
            raise UserError(f'labels={self.labels!r} is unknown: give "auto", "parent" or "none".')
        root = Path(self.path).expanduser()
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            raise UserError(f"{self.path} {what}. Give a folder that holds image files.")
        walk = _Walk()
        files = sorted(walk.files(str(root)), key=lambda entry: "/".join(entry[0]))
        if not files and not walk.closed:
            raise UserError(
                f"{self.path} holds no image file ({walk.others} files of other kinds). "
                "Looked for .jpg, .png, .webp, .gif, .bmp, .tiff, .avif and the like, in it and in all folders below."
            )
        where = _layout([parts for parts, _ in files], self.labels)
        items = [
            file_item(path, printable("/".join(parts)), label and printable(label), split)
            for (parts, path), (split, label) in zip(files, where, strict=True)
        ]
        return sorted(items + walk.closed, key=lambda item: item.name)


class _Walk:
    """One walk through a folder; counts what is no image and keeps folders that cannot be listed, as items."""

    def __init__(self) -> None:
        self.others = 0
        self.closed: list[Item] = []

    def files(self, folder: str, parts: Parts = (), above: frozenset[str] = frozenset()) -> Iterator[tuple[Parts, str]]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder that we are in
            return
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            name = printable("/".join(parts)) + "/"
            self.closed.append(Item(name, _failing(error), f"closed: {error.strerror}"))
            return
        for entry in entries:
            inside = (*parts, entry.name)
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                yield from self.files(entry.path, inside, above | {real})
            elif os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
                self.others += 1
            elif entry.is_file() or not os.path.exists(entry.path):  # a dead link, but no pipe: it would block
                yield inside, entry.path


def _failing(error: OSError) -> Callable[[], bytes]:
    def read() -> NoReturn:
        raise error

    return read


def _layout(files: list[Parts], labels: str) -> list[tuple[str | None, str | None]]:
    """(split, label) of every file."""
    divided = _is_divided(files)
    splits = [split_named(parts[0]) if divided and len(parts) > 1 else None for parts in files]
    below = [parts[1:] if split else parts for parts, split in zip(files, splits, strict=True)]
    if labels == "none":
        return [(split, None) for split in splits]
    if labels == "parent":
        return [(split, path[-2] if len(path) > 1 else None) for split, path in zip(splits, below, strict=True)]
    if divided:
        classes = _classes(splits, below)
    else:
        classes = {path[0] for path in below} if all(len(path) == 2 for path in below) else set()
    if len(classes) < 2:
        return [(split, None) for split in splits]
    return [
        (split, path[0] if len(path) > 1 and path[0] in classes and (split or not divided) else None)
        for split, path in zip(splits, below, strict=True)
    ]


def _is_divided(files: list[Parts]) -> bool:
    """Whether the top folders are splits: all of them, or "train" and another one among folders of other names."""
    found = {split_named(parts[0]) if len(parts) > 1 else None for parts in files}
    named = found - {None}
    return ("train" in named and len(named) > 1) or (None not in found and bool(named & {"train", "unsup"}))


def _classes(splits: list[str | None], below: list[Parts]) -> set[str]:
    """Names of the class folders of all splits. A split's only folder (val/images/) needs another split's word."""
    folders: dict[str | None, set[str]] = {"train": set(), "val": set()}
    for split, path in zip(splits, below, strict=True):
        if split in folders and len(path) > 1:
            folders[split].add(path[0])
    return set().union(*(names for names in folders.values() if len(names) > 1))
