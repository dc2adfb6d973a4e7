"""How good masks are: agreement with the truth on the objects alone, and in which ways they say nothing.

Foreground ARI: the adjusted Rand index (Hubert, Arabie, "Comparing Partitions", 1985) over the pixels of objects, each
given to the mask that is highest there; the mean over images is what Slot Attention and MONet report. What is the
background's may be divided as one likes.

Shapes: N images, K masks, H W sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEARLY = 0.99
"""Share of a mask's pixels that are above .9 where it is full, below .1 where it is empty."""
STILL = 0.02
"""How far, of 1, the pixels of a mask lie from their mean on average, at most, where it is one number."""
ALIKE = 0.95
"""Intersection over union, of masks cut at one half, from which on one repeats the other."""


def foreground_ari(told: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """told (N, H, W) int: which mask each pixel goes to; owner (N, H, W) int: 0 background, else the object.

    -> (N,) in [-1, 1], each an image's; 1 where the objects' pixels are one object's or none's and one mask's.
    """
    if told.shape != owner.shape:
        raise ValueError(f"told and owner are of one shape, (N, H, W), not {told.shape} and {owner.shape}")
    n, objects, masks = len(owner), int(owner.max(initial=0)) + 1, int(told.max(initial=0)) + 1
    image = np.arange(n)[:, None]
    cells = (image * objects + owner.reshape(n, -1)) * masks + told.reshape(n, -1)
    table = (
        np.bincount(cells.ravel(), minlength=n * objects * masks).reshape(n, objects, masks)[:, 1:].astype(np.float64)
    )
    together, in_row, in_column = (_pairs(counts) for counts in (table.reshape(n, -1), table.sum(2), table.sum(1)))
    whole = _pairs(table.sum((1, 2))[:, None])
    expected = in_row * in_column / np.maximum(whole, 1)
    room = (in_row + in_column) / 2 - expected
    return np.where(room > 0, (together - expected) / np.where(room > 0, room, 1.0), 1.0)


def _pairs(counts: np.ndarray) -> np.ndarray:
    """(N, groups) -> (N,): pairs of pixels that lie in one group."""
    return (counts * (counts - 1) / 2).sum(1)


@dataclass(frozen=True)
class Collapses:
    """Which masks say nothing, (N, K) bool each; a mask is called by the first of these words that fits."""

    full: np.ndarray
    empty: np.ndarray
    constant: np.ndarray
    """One number everywhere, neither full nor empty."""
    repeated: np.ndarray
    """The same as an earlier one."""

    def shares(self) -> dict[str, float]:
        """Share of the masks, by word."""
        return {word: float(getattr(self, word).mean()) for word in ("full", "empty", "constant", "repeated")}

    def images(self) -> np.ndarray:
        """(N,) bool: images that are taken apart in no way: of their masks all but at most one say nothing, so that
        one mask, or each alike, has everything."""
        return (self.full | self.empty | self.constant | self.repeated).sum(1) >= self.full.shape[1] - 1


def collapses(masks: np.ndarray) -> Collapses:
    """masks (N, K, H, W) in [0, 1]."""
    flat = masks.reshape(*masks.shape[:2], -1)
    full = (flat > 0.9).mean(2) >= NEARLY
    empty = (flat < 0.1).mean(2) >= NEARLY
    still = np.abs(flat - flat.mean(2, keepdims=True)).mean(2) < STILL
    constant = still & ~full & ~empty
    cut = (flat > 0.5).astype(np.float32)
    both = cut @ cut.transpose(0, 2, 1)
    size = cut.sum(2)
    either = size[:, :, None] + size[:, None] - both
    alike = np.tril(both > ALIKE * np.maximum(either, 1), -1)  # with an earlier one
    repeated = (alike & ~(full | empty | constant)[:, None]).any(2) & ~(full | empty | constant)
    return Collapses(full, empty, constant, repeated)
