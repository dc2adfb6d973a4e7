"""IDX files, the format of MNIST and of the sets made in its image: `train-images-idx3-ubyte`, also packed (.gz).

Format: http://yann.lecun.com/exdb/mnist/ - two zero bytes, the type, the number of dimensions, one big-endian 32-bit
length per dimension, the values.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsight.errors import UserError
from selfsight.source import Item, Source
from selfsight.sources import stack
from selfsight.sources.file import split_named, stamp

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IMAGES = re.compile(r"^(?P<stem>.*?)[-_.]?images?[-_.]idx[34]-u?byte(?P<packed>\.gz)?$", re.I)


@dataclass(frozen=True)
class Idx(Source):
    """MNIST, Fashion-MNIST, KMNIST, EMNIST and the like as they are downloaded. Labels are the digits as text.

    Good for these sets, read without unpacking. Poor for your own images: the format knows no names and no colour."""

    path: str
    """The folder, or the folder with the beginning of the file names where it holds several sets
    ("emnist/emnist-letters")."""

    def open(self) -> list[Item]:
        """Items named "train/00017", "val/..." (t10k, test), or by the file's beginning alone where it names no split.

        Raises UserError where there are no such files, where two would be the same split, or one is damaged.
        """
        given = Path(self.path).expanduser()
        folder, begin = (given, "") if given.is_dir() else (given.parent, given.name)
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        names = [(file, IMAGES.match(file.name)) for file in files if file.name.startswith(begin)]
        chosen: dict[str, Path] = {}
        for file, match in sorted(names, key=lambda pair: pair[0].name.endswith(".gz")):  # unpacked ones first
            if match is None:
                continue
            group = _split_in(match["stem"]) or match["stem"]
            taken = chosen.setdefault(group, file)
            if taken.name.removesuffix(".gz") != file.name.removesuffix(".gz"):
                raise UserError(
                    f"{self.path} holds {taken.name} and {file.name}, both {group!r}. "
                    f"Give the beginning of the names of one set, like {folder / file.name.split('-train')[0]}."
                )
        if not chosen:
            raise UserError(
                f"{self.path} holds no IDX images. Give a folder with train-images-idx3-ubyte (or .gz) and the like."
            )
        return [item for group, file in sorted(chosen.items()) for item in _items(group, file)]


def _split_in(stem: str) -> str | None:
    return next((split for word in reversed(re.split(r"[-_.]", stem)) if (split := split_named(word))), None)


def _items(group: str, file: Path) -> list[Item]:
    images = _read(file)
    if images.ndim < 3:
        raise UserError(f"{file} has {images.ndim} dimensions; images have three: number, rows, columns.")
    beside = re.sub(r"images?([-_.])idx[34]", r"labels\1idx1", file.name, flags=re.I).removesuffix(".gz")
    found = [path for path in (file.with_name(beside), file.with_name(beside + ".gz")) if path.is_file()]
    labels = _read(found[0]) if found else None
    split = split_named(group)
    mark = stamp(file) + (f" {stamp(found[0])}" if found else "")
    splits = [split] * len(images) if split else None
    return stack.items(
        images, what=str(file), labels=labels, splits=splits, prefix=f"{group}/" if group else "", stamp=mark
    )


def _read(file: Path) -> np.ndarray:
    """The array in one IDX file."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.name.endswith(".gz") else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} cannot be unpacked: {error}. Download it again.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{file} is no IDX file: it does not begin as one. Download it again.")
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    start, kind = 4 + 4 * content[3], np.dtype(TYPES[content[2]])
    if len(content) != start + math.prod(shape) * kind.itemsize:
        raise UserError(
            f"{file} should hold {shape} values after its first {start} bytes but has {len(content)} bytes in all. "
            "It is damaged: download it again."
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape)
