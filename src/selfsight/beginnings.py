"""What a spelling's first tokens are worth, and each token by itself: subjects for any probe.

Beside them stand the same speller untrained, and as many principal components of the pixels: coarse colours go first in
both, so that what is learned is what is above them.

Shapes: N images, T tokens, D numbers a token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from selfsight.config import configure
from selfsight.images.picked import Images
from selfsight.plan import build
from selfsight.probe import Labelled, Subject
from selfsight.reading import Reading
from selfsight.run import Run
from selfsight.speller import Spelling

BLOCK = 1024
"""Images in memory at once as they are transformed."""
FITTED = 10_000
"""Images that principal components are fitted to, at most."""


def beginnings(
    run: str | os.PathLike[str], train: Labelled, val: Labelled, classes: Sequence[str], seed: int
) -> Iterator[Subject]:
    """Subjects "1 token", "2 tokens", ... by doubling, up to all; "token 2 alone", ...; untrained; and of pixels.

    Features of `train` and `val` are not looked at. Raises UserError where this is no run of Tokens.
    """
    reading = Reading.open(run)
    parts = [reading.tokens(part.images) for part in (train, val)]
    most = parts[0].shape[1]
    lengths = [*(2**k for k in range(most.bit_length()) if 2**k < most), most]

    def subject(name: str, features: Sequence[np.ndarray]) -> Subject:
        known, asked = (
            Labelled(np.ascontiguousarray(rows.reshape(len(rows), -1)), part.labels, part.images)
            for rows, part in zip(features, (train, val), strict=True)
        )
        return Subject(name, known, asked, tuple(classes))

    for length in lengths:
        yield subject(f"{length} token{'s' if length > 1 else ''}", [part[:, :length] for part in parts])
    for length in lengths[1:]:
        yield subject(f"token {length} alone", [part[:, length - 1] for part in parts])
    fresh = _untrained(reading, run)
    yield subject(f"{most} tokens, untrained", [fresh.tokens(part.images) for part in (train, val)])
    components = _components(train.images, val.images, most * parts[0].shape[2], seed)
    for length in lengths:
        count = length * parts[0].shape[2]
        if count <= components[0].shape[1]:
            yield subject(f"pixels' first {count} components", [part[:, :count] for part in components])


def _untrained(reading: Reading, run: str | os.PathLike[str]) -> Reading:
    plan = Run.open(run).json("plan")
    model = build(configure(Run.open(run).json("recipe")), plan["size"], plan["channels"])
    model.eval().requires_grad_(False)
    return Reading(reading.recipe, model.encoder, cast(Spelling, model.parts["speller"]))


def _components(train: Images, val: Images, count: int, seed: int) -> list[np.ndarray]:
    """(N, count) principal components of both, fitted to the first; fewer where there are not so many."""
    from sklearn.decomposition import PCA

    def flat(images: Images, which: slice) -> np.ndarray:
        pixels = images[which]
        values = pixels.reshape(len(pixels), -1).astype(np.float32)
        values /= 255
        return values

    fitted = flat(train, slice(None, None, -(-len(train) // FITTED)))
    known = PCA(min(count, *fitted.shape), svd_solver="randomized", random_state=seed).fit(fitted)

    def told(images: Images) -> np.ndarray:
        starts = range(0, len(images), BLOCK)
        return np.concatenate([known.transform(flat(images, slice(start, start + BLOCK))) for start in starts])

    return [told(images) for images in (train, val)]
