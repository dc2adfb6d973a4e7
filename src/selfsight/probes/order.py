"""An order of the training images that depends on what they show, not on where they lie.

Every random draw of a probe is made in this order, so shuffling the training set changes no number, and every subject
of an evaluation (same images, other features) gets the same draws.

Shapes: N images.
"""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import numpy as np

from selfsight.images.picked import Images, Picked
from selfsight.probe import Labelled

BLOCK = 4096
"""Images in memory at once; fewer where they are large."""
LOOKED_AT = 2048
"""Bytes of each image that are hashed, evenly spaced: enough to tell photographs apart, few enough for 224 pixels."""
_KNOWN: WeakKeyDictionary[Picked, np.ndarray] = WeakKeyDictionary()


def content_order(part: Labelled) -> np.ndarray:
    """Indices (N,) that sort the images by label, then by a hash of their pixels; the given order decides the rest."""
    return np.lexsort((_digests(part.images), part.labels))


def _digests(images: Images) -> np.ndarray:
    """A number of each image; of rows of a memory map once, as every subject and probe asks."""
    if isinstance(images, Picked):
        known = _KNOWN.get(images)
        if known is None:
            known = _KNOWN[images] = _found(images)
        return known
    return _found(images)


def _found(images: Images) -> np.ndarray:
    count, numbers = len(images), int(np.prod(images.shape[1:]))
    together = max(1, min(BLOCK, 2**26 // numbers))
    found = np.empty(count, np.uint64)
    for start in range(0, count, together):
        block = images[start : start + together]
        flat = block.reshape(len(block), numbers)[:, :: -(-numbers // LOOKED_AT)]
        found[start : start + together] = [
            int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "big") for row in flat
        ]
    return found
