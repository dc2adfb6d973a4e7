"""`selfsight tokens`: pictures spelled out by a trained speller, on a page.

Shapes: N pictures, T tokens, C channels, S side.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from selfsight.errors import UserError
from selfsight.keepsakes import keepsakes
from selfsight.lengths import needed
from selfsight.reading import Reading, pixels_of
from selfsight.reporting.spelled import Spelled, Then, write_spelled
from selfsight.run import Run
from selfsight.seeds import seed_of
from selfsight.shown import Images, pictures_of
from selfsight.speller import Spelt
from selfsight.storing import open_store

THRESHOLD = 0.003
"""Mean squared error that is asked for, 25.2 dB: coarse, but everything is there."""
STEP = 0.1
"""What numbers are rounded to where bits are told: evenly spread in a step they err by step^2 / 12, 30.8 dB."""
DRAWN = 24
"""Pictures of a folder that are shown."""
FITTED = 256
"""Images of the run's own that the rule for lengths is fitted to."""


def tokens(
    run: str | os.PathLike[str],
    images: Images,
    *,
    threshold: float = THRESHOLD,
    count: int | None = None,
    quick: bool = False,
    step: float = STEP,
    out: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> Path:
    """Spells pictures out and writes a page: what is read after 1 ... T tokens, and how many each picture needs.

    threshold: the mean squared error that is small enough; count: as many tokens for every picture instead; quick: say
    in one look how many are needed, by a rule fitted to the run's own images, instead of searching; step: what numbers
    are rounded to where bits are told. out: the page, RUN/tokens.html where not given. -> its path. Raises UserError.
    """
    console, reading = console or Console(stderr=True), Reading.open(run)
    if not (threshold > 0 and step > 0):
        raise UserError(f"--threshold is a squared error and --step a step, both more than 0, not {threshold}, {step}.")
    names, pixels, skipped = pictures_of(images, reading.encoder, DRAWN)
    lengths, asked = _lengths(reading, pixels, threshold, count, quick, console)
    shown = [
        _spelled(reading, name, one, int(length), step)
        for name, one, length in zip(names, pixels, lengths, strict=True)
    ]
    told = (
        f"Every token is shown by what is read after it, what it added and what is missing. Thumbnails: {asked}. "
        f"Floats count numbers, gains and all that is sent beside them; bits are of numbers rounded to {step:g}."
    )
    path = Path(out) if out is not None else Path(run) / "tokens.html"
    write_spelled(shown, told, str(run), skipped, as_it_learned(Run.open(run)), path)
    for text in skipped:
        console.print(f"left out: {text}", highlight=False, markup=False, soft_wrap=True)
    mean = float(lengths.double().mean())
    console.print(f"{len(shown)} pictures, {mean:.2f} tokens each on average for {asked}", highlight=False)
    return path


def as_it_learned(run: Run) -> list[Then]:
    """What the run kept of the same few images, oldest first."""
    kept = keepsakes(run)
    told = []
    for step, tensors in kept:
        now, last = (each["tokens"].flatten(1).double() for each in (tensors, kept[-1][1]))
        there = min(float(now.norm()), float(last.norm())) > 0
        turned = float(torch.nn.functional.cosine_similarity(now, last).mean()) if there else None
        told.append(Then(step, tensors["errors"].double().mean(0).tolist(), turned))
    return told


def _lengths(
    reading: Reading, pixels: np.ndarray, threshold: float, count: int | None, quick: bool, console: Console
) -> tuple[Tensor, str]:
    """(N,) tokens of each picture, and in words what was asked for."""
    most = reading.spelling.tokens
    if count is not None:
        if not 1 <= count <= most:
            raise UserError(f"--count is a number of tokens, 1 to {most} with this run, not {count}.")
        return torch.full((len(pixels),), count), f"{count} tokens each"
    asked = f"a mean squared error of {threshold:g}"
    if quick:
        rule = reading.lengths(_own(reading, console))
        return rule.needed(reading.clues(pixels), threshold), f"{asked}, foreseen in one look"
    return needed(reading.errors(pixels), threshold), f"{asked}, found by search"


def _own(reading: Reading, console: Console) -> np.ndarray:
    """Some hundred of the images that the run was trained on."""
    encoder = reading.encoder
    store = open_store(reading.recipe.source, encoder.size, console, channels=encoder.channels)
    rows = np.random.default_rng(seed_of(reading.recipe.seed, "lengths")).permutation(len(store))[:FITTED]
    return store.images[np.sort(rows)]


def _spelled(reading: Reading, name: str, pixels: np.ndarray, needs: int, step: float) -> Spelled:
    """One picture of the page."""
    spelling, truth = reading.spelling, pixels_of(pixels[None])
    spelt: Spelt = spelling.spell(truth, reading.encoder)
    rounded = spelling.spell(truth, reading.encoder, step=step)
    pictures = spelt.pictures[0]
    return Spelled(
        name,
        pixels,
        [_bytes(one) for one in pictures[1:]],
        [_bytes(0.5 + (new - old)) for old, new in pairwise(pictures)],
        [_bytes(0.5 + (truth[0] - one)) for one in pictures[1:]],
        spelt.errors(truth)[0].tolist(),
        [spelling.floats * count for count in range(1, spelling.tokens + 1)],
        np.cumsum(spelling.fixed_bits(step)).tolist(),
        spelling.estimated_bits(rounded)[0].cumsum(0).tolist(),
        needs,
    )


def _bytes(picture: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] -> (H, W, C) uint8."""
    return np.asarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())
