"""A store holds images decoded once: a folder with one memory-mapped array, an index, and the labels in a file apart.

    store.json       format, key, packing, source, counts
    images.npy       (N, size, size, C) uint8, for `np.load(mmap_mode="r")`
    index.csv        name, split, width, height, hash: of every image, in the array's order
    labels.csv       name, label: read by `Store.labels()` alone, so that what trains on a store never holds them
    skipped.csv      name, reason: what could not be read
    duplicates.csv   group, name, split, across: images whose content is the same, byte for byte

A store is named by its key, a hash of what went in (names, stamps, labels, splits) and how (packing). It is written
beside its place and renamed when it is whole and on disk, under a lock that dies with its process: a store is there
entirely or not at all, two processes make one, and a killed one leaves nothing but a hidden folder that the next clears
away. The same input gives the same bytes, however many threads decode. Torch-free.

Shapes: N images, H = W = size, C channels (1 or 3).
"""

from __future__ import annotations

import contextlib
import csv
import glob
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from selfsight.errors import UserError
from selfsight.packing import Answer, decoded, processors
from selfsight.packing import Packing as Packing
from selfsight.source import Item, Source

FORMAT = 1
"""Raised whenever the files of a store, or the pixels that decoding gives, change: older stores are then made again."""
HEADER = 128
"""Bytes before the values in images.npy."""
BUFFER, SENT = 2**18, 2**27
"""Bytes that images.npy is written in at once, and after which what was written is sent on its way to the disk."""


@dataclass(frozen=True)
class Labels:
    """The classes of a store's images. For probes; a task never sees one."""

    classes: tuple[str, ...]
    """Names, sorted."""
    codes: np.ndarray
    """(N,) int64 places in `classes`; -1 for an image without a class."""


class Duplicates(NamedTuple):
    """Images with the same content."""

    names: tuple[str, ...]
    across: bool
    """Whether they lie in different splits: what is in train is then asked for in val."""


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded images on disk, open for reading. Goes to another process as its path."""

    path: Path
    packing: Packing
    images: np.ndarray = field(repr=False)
    """(N, size, size, C) uint8, memory-mapped, read-only."""
    names: list[str] = field(repr=False)
    splits: np.ndarray = field(repr=False)
    """(N,) text: "train", "val", "unsup", or "" where the source does not divide its images."""
    hashes: list[str] = field(repr=False)
    """Of each file's bytes."""
    sizes: np.ndarray = field(repr=False)
    """(N, 2) int64: width and height before packing, in pixels, upright."""
    skipped: list[tuple[str, str]] = field(repr=False)
    """(name, reason) of what could not be read."""
    duplicates: list[Duplicates] = field(repr=False)
    key: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store.open, (self.path,)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Store:
        """The store in the folder `path`. Raises UserError where there is none, or one that is damaged or of old."""
        folder = Path(path)
        if not (folder / "store.json").is_file():
            raise UserError(f"{path} is not a store (it has no store.json). Give a folder that `selfsight pack` made.")
        try:
            about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise UserError(f"{path} is a store of format {about['format']}, not {FORMAT}. Pack the images again.")
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            index = list(_rows(folder / "index.csv"))
            shape = (about["images"], about["size"], about["size"], about["channels"])
            if images.shape != shape or images.dtype != np.uint8 or len(index) != len(images):
                raise ValueError(f"it holds {images.shape} {images.dtype} and {len(index)} names in place of {shape}")
            return Store(
                path=folder,
                packing=Packing(**about["packing"]),
                images=images,
                names=[row[0] for row in index],
                splits=np.array([row[1] for row in index], dtype=np.str_),
                hashes=[row[4] for row in index],
                sizes=np.array([row[2:4] for row in index], dtype=np.int64).reshape(-1, 2),
                skipped=[(name, reason) for name, reason in _rows(folder / "skipped.csv")],
                duplicates=_grouped(_rows(folder / "duplicates.csv")),
                key=about["key"],
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"The store {path} is damaged: {error}. Delete it and pack the images again.") from error

    def labels(self) -> Labels:
        """The classes, read from their own file. Raises UserError where that file is missing or of other images."""
        try:
            rows = list(_rows(self.path / "labels.csv"))
        except OSError as error:
            raise UserError(f"The store {self.path} has lost its labels.csv. Delete it and pack again.") from error
        if [name for name, _ in rows] != self.names:
            raise UserError(f"labels.csv in the store {self.path} is of other images. Delete the store and pack again.")
        classes = tuple(sorted({label for _, label in rows if label}))
        code = {name: place for place, name in enumerate(classes)} | {"": -1}
        return Labels(classes, np.array([code[label] for _, label in rows], dtype=np.int64))

    def where(self, *splits: str) -> np.ndarray:
        """(n,) int64, rising: places of the images in any of these splits ("" for those in none); all without one."""
        if unknown := sorted(set(splits) - {"train", "val", "unsup", ""}):
            raise UserError(f'There is no split {unknown[0]!r}; there are "train", "val", "unsup" and "".')
        return np.flatnonzero(np.isin(self.splits, splits)) if splits else np.arange(len(self.names))


def cache() -> Path:
    """Where stores go that were given no place: $SELFSIGHT_CACHE/stores, or ~/.cache/selfsight/stores."""
    return Path(os.environ.get("SELFSIGHT_CACHE") or Path.home() / ".cache" / "selfsight").expanduser() / "stores"


def pack(
    source: Source,
    packing: Packing | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    items: Sequence[Item] | None = None,
) -> Store:
    """The store of `source`, made by decoding every image, or reused where it was made before.

    `out` is the folder to make, by default one in the cache. `progress(done, total)` is called in this thread after
    every image; `threads`: one per processor that this process may use; `items`: the source's, where known. Few images
    are in memory. Raises UserError where nothing can be read, `out` is something else's, or cannot be written.
    """
    packing = packing or Packing()
    items = sorted(source.open() if items is None else items, key=lambda item: item.name)
    if twice := next((a.name for a, b in itertools.pairwise(items) if a.name == b.name), None):
        raise UserError(f"{source!r} lists {twice!r} twice; every image needs a name of its own.")
    key = _key(items, packing)
    place = cache() / key if out is None else Path(out).expanduser()
    try:
        store = _reusable(place, key, cached=out is None)
        if store is not None:  # read without a lock, which a read-only place could not hold
            return store
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{place.name}.lock"):  # stays there: to remove it would let two in
            store = _reusable(place, key, cached=out is None)
            if store is None:
                _sweep(place, cached=out is None)
                with contextlib.closing(decoded(items, packing, progress, threads or processors())) as images:
                    _build(place, source, packing, key, images)
                store = Store.open(place)
            return store
    except OSError as error:
        advice = "Set SELFSIGHT_CACHE to" if out is None else "Give"
        told = f"Cannot write the store {place}: {error.strerror or error}. {advice} a folder that can be written."
        raise UserError(told) from error


def _key(items: Sequence[Item], packing: Packing) -> str:
    digest = hashlib.blake2b(json.dumps([FORMAT, asdict(packing)], sort_keys=True).encode(), digest_size=16)
    for item in items:
        digest.update(json.dumps([item.name, item.stamp, item.label, item.split]).encode() + b"\n")
    return digest.hexdigest()


def _reusable(place: Path, key: str, cached: bool) -> Store | None:
    """The store that is at `place` already, if it is whole; None where it is still to be made."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    try:
        store = Store.open(place)
    except UserError:
        if cached:  # ours to replace
            return None
        raise UserError(f"{place} exists and is not a whole store. Delete it, or give another place.") from None
    if store.key != key:
        other = f"a store of other images, or of the same ones with another packing ({store.packing})"
        raise UserError(f"{place} is {other}. Delete it, or give another place.")
    return store


def _sweep(place: Path, cached: bool) -> None:
    """Removes what killed packers left at this place, whose lock we hold, and in the cache at any other."""
    for folder in place.parent.glob(".*.tmp" if cached else f".{glob.escape(place.name)}.*.tmp"):
        name = folder.name[1:].rsplit(".", 2)[0]
        if name == place.name:
            shutil.rmtree(folder, ignore_errors=True)
        elif cached:
            with contextlib.suppress(Timeout), FileLock(place.parent / f".{name}.lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def _build(place: Path, source: Source, packing: Packing, key: str, images: Iterator[Answer]) -> None:
    """Writes the store beside `place` and renames it; whatever happens, nothing half-made is left at `place`."""
    folder = place.parent / f".{place.name}.{os.getpid()}.tmp"
    folder.mkdir()
    try:
        index: list[_Row] = []
        skipped: list[tuple[str, str]] = []
        with _Pixels(folder / "images.npy", packing) as pixels:
            for item, image in images:
                if isinstance(image, str):
                    skipped.append((item.name, image))
                else:
                    pixels.append(image.pixels)
                    index.append((item, image.width, image.height, image.hash))
        if not index:
            first = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
            raise UserError(f"None of the {len(skipped)} images of {source!r} can be used. The first: {first}.")
        _write_tables(folder, index, skipped)
        about = {"format": FORMAT, "key": key, "packing": asdict(packing), "source": repr(source)}
        counts = {"images": len(index), "skipped": len(skipped), "size": packing.size, "channels": pixels.channels}
        (folder / "store.json").write_text(json.dumps(about | counts, indent=2) + "\n", encoding="utf-8")
        for path in (*folder.iterdir(), folder):
            _flush(path)
        if place.is_dir() and any(place.iterdir()):  # a damaged one, in the cache
            shutil.rmtree(place)
        os.rename(folder, place)
        _flush(place.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_Row = tuple[Item, int, int, str]


class _Pixels:
    """images.npy while it is written, one image after another; gray until the first colour comes.

    What is written is sent to the disk meanwhile, so that little is left to wait for at the end.
    """

    def __init__(self, path: Path, packing: Packing) -> None:
        self.path, self.size, self.count = path, packing.size, 0
        self.channels = 3 if packing.channels == 3 else 1
        self.sender, self.sent = ThreadPoolExecutor(1), Future[None]()
        self.sent.set_result(None)

    def __enter__(self) -> _Pixels:
        self.file, self.unsent = open(self.path, "w+b", buffering=BUFFER), 0
        self.file.write(bytes(HEADER))
        self.file.flush()  # that there is a place for it, and room
        return self

    def append(self, pixels: np.ndarray) -> None:
        """(size, size, 1 or 3) uint8."""
        if pixels.shape[2] > self.channels:
            self._colour()
        whole = pixels if pixels.shape[2] == self.channels else pixels.repeat(3, axis=2)
        self._write(np.ascontiguousarray(whole).data)
        self.count += 1

    def _write(self, values: bytes | memoryview) -> None:
        self.unsent += self.file.write(values)
        if self.unsent >= SENT and self.sent.done():
            self.sent.result()  # raises what went wrong
            self.sent, self.unsent = self.sender.submit(os.fsync, self.file.fileno()), 0

    def _colour(self) -> None:
        self.sent.result()
        self.file.close()
        gray, self.channels = self.path.with_name("gray.npy"), 3
        self.path.rename(gray)
        self.__enter__()
        with open(gray, "rb") as file:
            file.seek(HEADER)
            while part := file.read(2**20):
                self._write(np.frombuffer(part, dtype=np.uint8).repeat(3).tobytes())
        gray.unlink()

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self.sent.result()
                self._describe()
        finally:
            self.sender.shutdown()
            with contextlib.suppress(*([OSError] if kind else [])):  # what went wrong is told already
                self.file.close()

    def _describe(self) -> None:
        """Writes the header, whose place was left free."""
        shape = (self.count, self.size, self.size, self.channels)
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        if self.file.tell() != HEADER:
            raise ValueError(f"the header of an array of {shape} takes {self.file.tell()} bytes, not {HEADER}")


def _write_tables(folder: Path, index: Sequence[_Row], skipped: Sequence[tuple[str, str]]) -> None:
    """All files of the store that are tables."""
    rows = [(item.name, item.split or "", *rest) for item, *rest in index]
    _write(folder / "index.csv", ("name", "split", "width", "height", "hash"), rows)
    _write(folder / "labels.csv", ("name", "label"), [(item.name, item.label or "") for item, *_ in index])
    _write(folder / "skipped.csv", ("name", "reason"), skipped)
    same: dict[str, list[Item]] = {}
    for item, _, _, digest in index:
        same.setdefault(digest, []).append(item)
    twice = []
    for number, group in enumerate(group for group in same.values() if len(group) > 1):
        across = "yes" if len({item.split for item in group}) > 1 else "no"
        twice += [(number, item.name, item.split or "", across) for item in group]
    _write(folder / "duplicates.csv", ("group", "name", "split", "across"), twice)


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _rows(path: Path) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        yield from itertools.islice(csv.reader(file), 1, None)


def _grouped(rows: Iterable[list[str]]) -> list[Duplicates]:
    groups = (list(group) for _, group in itertools.groupby(rows, key=lambda row: row[0]))
    return [Duplicates(tuple(row[1] for row in group), group[0][3] == "yes") for group in groups]
