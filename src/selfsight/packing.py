"""Images decoded by threads, one after another, while others write them.

Shapes: C channels (1 or 3).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from selfsight.errors import UserError
from selfsight.images.decode import to_pixels
from selfsight.source import Item

TOGETHER, LEAST = 8, 16
"""Images that a thread decodes before it hands them on, at most, and into how many such parts each thread's share falls
at least: each handing over costs as much as a fifth of decoding a small picture."""
AHEAD = 12
"""Of such parts per thread may wait, for one before them that takes longer or to be written."""
WAITING = 2**28
"""Bytes of decoded images that may wait, where that is fewer: but a part per thread, and one more."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How images are made one size."""

    size: int = 64
    """Side of the square pictures, in pixels."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """"crop": the middle; "pad": all of it, white around; "stretch": all of it, out of proportion."""
    channels: Literal["auto", 1, 3] = "auto"
    """1 (gray) or 3 (RGB); "auto": 1 where every image is stored as gray, otherwise 3."""
    smallest: int = 4
    """Images with a shorter side of fewer pixels are skipped."""

    def __post_init__(self) -> None:
        fits = self.fit in ("crop", "pad", "stretch") and self.channels in ("auto", 1, 3)
        if self.size < 1 or self.smallest < 0 or not fits:
            accepted = 'size >= 1, fit "crop", "pad" or "stretch", channels "auto", 1 or 3, smallest >= 0'
            raise UserError(f"{self} is no way to pack images: give {accepted}.")


class Decoded(NamedTuple):
    pixels: np.ndarray
    width: int
    height: int
    hash: str


Answer = tuple[Item, Decoded | str]


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded(
    items: Sequence[Item], packing: Packing, progress: Callable[[int, int], None] | None, threads: int
) -> Generator[Answer, None, None]:
    """Every item in order with its image, or with the reason why there is none."""
    waiting: deque[Future[list[Decoded | str]]] = deque()
    some = min(TOGETHER, max(1, len(items) // (LEAST * threads)))
    handed = [items[start : start + some] for start in range(0, len(items), some)]
    todo, done = iter(handed), 0
    ahead = max(threads + 1, min(AHEAD * threads, WAITING // (some * packing.size**2 * 3)))
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in handed:
                for coming in itertools.islice(todo, ahead - len(waiting)):
                    waiting.append(pool.submit(_decode_all, coming, packing))
                for item, image in zip(part, waiting.popleft().result(), strict=True):
                    yield item, image
                    done += 1
                    if progress is not None:
                        progress(done, len(items))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode_all(items: Sequence[Item], packing: Packing) -> list[Decoded | str]:
    return [_decode(item, packing) for item in items]


def _decode(item: Item, packing: Packing) -> Decoded | str:
    """Runs in a thread; whatever is wrong with one image is told and stops no other."""
    try:
        content = item.read()
        pixels, (width, height) = to_pixels(content, packing.size, packing.fit, packing.channels)
    except OSError as error:
        return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
    except (Exception, MemoryError) as error:
        return " ".join(str(error).split())[:300] or type(error).__name__
    if min(width, height) < packing.smallest:
        return f"{width}x{height} pixels: the shorter side has fewer than {packing.smallest}"
    if isinstance(content, Image.Image):
        content = f"{content.mode} {content.size} ".encode() + content.tobytes()
    return Decoded(pixels, width, height, hashlib.blake2b(content, digest_size=16).hexdigest())
