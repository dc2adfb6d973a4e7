"""A trained mask model, taken up from its run: pictures taken apart, on a page.

Shapes: N pictures, K masks, C channels, S side.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from selfsight.batch import Batch, Example, Now, Prediction
from selfsight.config import configure
from selfsight.frozen import Frozen
from selfsight.images.views import Views
from selfsight.maths.segments import Collapses, collapses
from selfsight.reporting.strips import Strip, write_strips
from selfsight.seeds import generator, seed_of
from selfsight.sources.guess import located
from selfsight.storing import open_store
from selfsight.task import Model
from selfsight.tasks import Decompose, Saliency

DRAWN = 8
"""Pictures that are shown."""
STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
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
    found = Frozen.open(
        run,
        lambda task: isinstance(task, Decompose | Saliency),
        lambda task, encoder: task.parts(encoder),
        "makes no masks: give a run of `selfsight pretrain --task Decompose`",
    )
    recipe, encoder = configure(found.run.json("recipe")), found.encoder
    model = Model(encoder, dict(found.parts.items())).eval()
    source = recipe.source if data is None else located(data)
    store = open_store(source, encoder.size, console, channels=encoder.channels)
    rows = np.sort(np.random.default_rng(seed_of(seed, "apart")).permutation(len(store))[:DRAWN])
    pixels = torch.from_numpy(store.images[rows]).permute(0, 3, 1, 2)
    batch = Batch(pixels, torch.from_numpy(rows.astype(np.int64)))
    task = cast(Decompose | Saliency, recipe.task)
    example = replace(task, views=STILL).prepare(batch, Now(99, 100, generator(seed, "apart")))
    with torch.no_grad():
        prediction = task.predict(model, example)
    strips = _strips(task, prediction, example, [store.names[row] for row in rows])
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
