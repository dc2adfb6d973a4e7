"""Pictures taken apart by a trained mask model, on a page.

Shapes: N pictures, K masks, C channels, S side.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from selfsight.apart import Apart
from selfsight.batch import Example, Prediction
from selfsight.maths.segments import Collapses, collapses
from selfsight.reporting.strips import Strip, write_strips
from selfsight.seeds import seed_of
from selfsight.sources.guess import located
from selfsight.storing import open_store
from selfsight.tasks import Decompose, Saliency

DRAWN = 8
"""Pictures that are shown."""
TOLD = (
    "Of each picture: what its parts compose, then mask after mask (white: all of the pixel is its part's; below it, "
    "how much of the picture that is), and its part where the mask lies."
)


def decompose(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Takes pictures apart by a run's masks and writes a page of them.

    data: images, the run's own where not given, of which eight are shown; out: the page, RUN/masks.html where not
    given. -> its path. Raises UserError where the run has no masks or has learned nothing yet.
    """
    console = console or Console(stderr=True)
    found = Apart.open(run)
    source, encoder = found.recipe.source if data is None else located(data), found.encoder
    store = open_store(source, encoder.size, console, channels=encoder.channels)
    rows = np.sort(np.random.default_rng(seed_of(seed, "apart")).permutation(len(store))[:DRAWN])
    prediction, example = found.asked(store.images[rows], seed)
    strips = _strips(found.task, prediction, example, [store.names[row] for row in rows])
    return write_strips(strips, str(run), TOLD, Path(out) if out is not None else Path(run) / "masks.html")


def _strips(task: Decompose | Saliency, prediction: Prediction, example: Example, names: list[str]) -> list[Strip]:
    masks, truth = task.masks(prediction, example), example.inputs[:, 0]
    parts = masks[:, :, None] * prediction["pictures"] if isinstance(task, Decompose) else prediction["answers"]
    composed, found = parts.sum(1), collapses(masks.numpy())
    return [
        Strip(
            name,
            _pixels(truth[i]),
            _pixels(composed[i]),
            list(masks[i].numpy()),
            [_pixels(part) for part in parts[i]],
            [_word(found, i, k) for k in range(masks.shape[1])],
            {"mean squared error of the composition": float((composed[i] - truth[i]).square().mean())},
        )
        for i, name in enumerate(names)
    ]


def _word(found: Collapses, i: int, k: int) -> str:
    return next((word for word in ("full", "empty", "constant", "repeated") if getattr(found, word)[i, k]), "")


def _pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return np.asarray((image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
