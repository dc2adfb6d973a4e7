"""A trained restorer, taken up from its run: what is taken from pictures, and several answers to what is left.

Shapes: N pictures, K answers to each, C channels, S side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from rich.console import Console
from torch import Generator, Tensor

from selfsight.checkpoint import fill
from selfsight.config import configure
from selfsight.corruption import Corrupted
from selfsight.corruptions import spelling
from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.images.decode import to_pixels
from selfsight.maths.distances import sharpness, spread
from selfsight.plan import build
from selfsight.reporting.answers import Restored, write_answers
from selfsight.restorer import Stack
from selfsight.run import Run
from selfsight.seeds import generator
from selfsight.sources import Folder
from selfsight.tasks.restore import Restore, gauge

DRAWN = 12
"""Pictures of a folder that are shown."""


@dataclass(frozen=True)
class Restoring:
    """What a run of Restore learned, in eval mode."""

    task: Restore
    encoder: Encoder
    stack: Stack

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Restoring:
        """Raises UserError where there is no run, where it is not one of Restore, or has no checkpoint yet."""
        run = Run.open(path)
        recipe, plan = configure(run.json("recipe")), run.json("plan")
        if not isinstance(recipe.task, Restore):
            raise UserError(
                f"{run.path} was trained on {type(recipe.task).__name__}, which restores nothing: give a run of "
                "`selfsight pretrain --task Restore`."
            )
        if not plan or not run.checkpoints():
            raise UserError(f"{run.path} has learned nothing yet: `selfsight resume {run.path}` goes on with it.")
        model = build(recipe, plan["size"], plan["channels"])
        fill(run, model)
        model.eval().requires_grad_(False)
        return Restoring(recipe.task, model.encoder, cast(Stack, model.parts["restorer"]))

    def taken(self, images: Tensor, draws: Generator) -> Corrupted:
        """(N, C, S, S) in [0, 1] -> what the run's own corruption leaves of them."""
        return self.task.corruption(images, draws)

    @torch.no_grad()
    def answers(self, left: Tensor, ways: int, draws: Generator) -> Tensor:
        """What is left of pictures (N, C, S, S) in [0, 1] -> K = ways answers to each, (N, K, C, S, S)."""
        z = self.encoder(left)
        return torch.stack([self.stack(left, self.stack.draw(len(left), draws), z)[-1] for _ in range(ways)], 1)


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
    console, restoring = console or Console(stderr=True), Restoring.open(run)
    names, pixels, skipped = _pictures(images, restoring.encoder, seed)
    truth = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    corrupted = restoring.taken(truth, generator(seed, "taken"))
    answers = restoring.answers(corrupted.images, ways, generator(seed, "ways"))
    shown = [_restored(restoring, names[i], truth[i], corrupted, answers[i], i) for i in range(len(names))]
    path = Path(out) if out is not None else Path(run) / "restored.html"
    write_answers(shown, spelling(restoring.task.corruption), str(run), skipped, path)
    for text in skipped:
        console.print(f"left out: {text}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(shown)} pictures, {ways} answers to each", highlight=False)
    return path


def _pictures(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], encoder: Encoder, seed: int
) -> tuple[list[str], np.ndarray, list[str]]:
    """Names and pixels (N, S, S, C) uint8 of what is shown, and what is left out, with the reason."""
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    names, pixels, skipped = list[str](), list[np.ndarray](), list[str]()
    for place in map(Path, given):
        if place.is_dir():
            items = Folder(str(place), labels="none").open()
            chosen = np.random.default_rng(seed).permutation(len(items))[:DRAWN]
            files = [place / items[i].name for i in sorted(chosen)]
            if len(items) > DRAWN:
                skipped.append(f"{len(items) - DRAWN:,} of the {len(items):,} images of {place}: {DRAWN} are shown")
        else:
            files = [place]
        for file in files:
            try:
                one, _ = to_pixels(file.read_bytes(), encoder.size, channels=1 if encoder.channels == 1 else 3)
            except (OSError, ValueError) as error:
                skipped.append(f"{file}: {error.strerror if isinstance(error, OSError) else error}")
            else:
                names.append(file.name)
                pixels.append(one)
    if not pixels:
        raise UserError(f"No picture could be read: {'; '.join(skipped)}. Give image files, or a folder of them.")
    return names, np.stack(pixels), skipped


def _restored(
    restoring: Restoring, name: str, truth: Tensor, corrupted: Corrupted, answers: Tensor, i: int
) -> Restored:
    """One picture of the page. Distances are in units of that of what was left."""
    one, every, left = truth[None], answers[None], corrupted.images[i]
    judge = gauge(restoring.task.distance, truth.shape[0])
    far = judge(every, one)[0]
    unit = float(judge(left[None, None], one)) or 1.0
    numbers = {
        "removed": float(corrupted.removed[i]),
        "distance of the nearest answer": float(far.min()) / unit,
        "of all answers, on average": float(far.mean()) / unit,
        "between two answers": float(spread(every, judge)) / unit,
        "sharpness (1: as the picture)": float(sharpness(every, one)),
    }
    deviation = answers.std(0).mean(0)
    differ = (deviation / deviation.max().clamp(min=1e-6)).numpy()
    return Restored(name, _pixels(truth), _pixels(left), [_pixels(answer) for answer in answers], differ, numbers)


def _pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return np.asarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
