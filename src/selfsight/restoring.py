"""`restore`: what a trained restorer's corruption takes from pictures, and several answers to what is left, on a page.

Shapes: N pictures, K answers to each, C channels, S side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from selfsight.answerer import Answerer
from selfsight.corruption import Corrupted
from selfsight.corruptions import spelling
from selfsight.errors import UserError
from selfsight.maths.distances import sharpness, spread
from selfsight.reporting.answers import Restored, write_answers
from selfsight.seeds import generator
from selfsight.shown import pictures_of
from selfsight.tasks.restore import gauge

DRAWN = 12
"""Pictures of a folder that are shown."""


def restore(
    run: str | os.PathLike[str],
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    ways: int = 6,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Takes from pictures what the run's corruption takes, and writes a page with several answers to what is left.

    images: files and folders, of which twelve pictures are shown; ways: answers to each, 2 or more; out: the page,
    RUN/restored.html where not given. -> its path. Raises UserError where nothing can be restored.
    """
    if ways < 2:
        raise UserError(f"--ways is a number of answers, at least 2, not {ways}.")
    console, restoring = console or Console(stderr=True), Answerer.open(run)
    for doubt in restoring.doubts:
        console.print(doubt, highlight=False, markup=False, soft_wrap=True)
    names, pixels, skipped = pictures_of(images, restoring.encoder, DRAWN, seed)
    truth = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    corrupted = restoring.taken(truth, generator(seed, "taken"))
    answers = restoring.answers(corrupted, ways, generator(seed, "ways"))
    shown = [_restored(restoring, names[i], truth[i], corrupted, answers[i], i) for i in range(len(names))]
    path = Path(out) if out is not None else Path(run) / "restored.html"
    write_answers(shown, spelling(restoring.corruption), str(run), skipped, path, restoring.doubts)
    for text in skipped:
        console.print(f"left out: {text}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(shown)} pictures, {ways} answers to each", highlight=False)
    return path


def _restored(restoring: Answerer, name: str, truth: Tensor, corrupted: Corrupted, answers: Tensor, i: int) -> Restored:
    """One picture of the page. Distances are in units of that of what was left."""
    one, every, left = truth[None], answers[None], corrupted.images[i]
    judge = gauge(restoring.task.distance, truth.shape[0])
    far = judge(every, one)[0]
    unit = float(judge(left[None, None], one))
    numbers = {"removed": float(corrupted.removed[i]), "sharpness (1: as the picture)": float(sharpness(every, one))}
    if unit:  # something was taken
        numbers |= {
            "distance of the nearest answer": float(far.min()) / unit,
            "of all answers, on average": float(far.mean()) / unit,
            "between two answers": float(spread(every, judge)) / unit,
        }
    deviation = answers.std(0).mean(0)
    differ = (deviation / deviation.max().clamp(min=1e-6)).numpy()
    return Restored(name, _pixels(truth), _pixels(left), [_pixels(answer) for answer in answers], differ, numbers)


def _pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return np.asarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
