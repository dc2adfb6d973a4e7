"""What is settled before the first step and holds to the last: sizes, steps, precision. Kept as plan.json, so that a
resumed run does not settle anything anew.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsight.batch import Batch
from selfsight.bf16 import bf16_is_native
from selfsight.corruption import Corruption
from selfsight.distance import Distance
from selfsight.encoder import without_weights
from selfsight.engine import Engine, solitary
from selfsight.errors import UserError
from selfsight.pace import usual_pace
from selfsight.precision import Timed, recalled, remember
from selfsight.recipe import Recipe
from selfsight.remembered import place
from selfsight.task import Model
from selfsight.train import State, advance, order
from selfsight.view import ViewSource

EACH = 8
"""Images of each process, at least, where no batch was asked for: batch statistics of fewer say little."""
MINUTES = 10.0
"""Length of a training that was given none."""
TIMED_SECONDS, TIMED_STEPS = 4.0, 8
"""About how long the timing of each precision may take before the start, and the most steps of it."""
ALONE_SECONDS = 0.7
"""The same where there is nothing to choose, and the number of steps alone is wanted: two steps at least."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe made concrete for these images on this machine."""

    steps: int
    images: int
    """Images learned from."""
    batch: int
    """Images a step over all processes."""
    size: int
    channels: int
    precision: str
    precision_reason: str
    seconds_per_step: float | None
    """As timed before the start, or remembered; None where neither was needed."""
    seconds_of: str = ""
    """The day of the training that seconds_per_step is remembered from; "" where steps were timed."""
    memory: int | None = None
    """Bytes that each process was foreseen to take, beside what it held before; None where nothing was foreseen."""


def settle(recipe: Recipe, images: np.ndarray, where: np.ndarray, known: Path | None = None) -> Plan:
    """Times a few steps where precision or number of steps depend on it, and fixes everything that is open.

    known: where it is kept what was found out about such steps; see `known_of`.
    Raises UserError where there are too few images, or too little memory.
    """
    from selfsight.memory import require_room

    count, channels, size = len(where), images.shape[3], images.shape[1]
    if count < 2:
        raise UserError(
            f"There is {count} image to learn from; at least 2 are needed, and some hundred to learn anything."
        )
    world = int(os.environ.get("WORLD_SIZE", 1))
    batch = batch_of(recipe, count, world)
    if recipe.growth:
        _require_growable(recipe, images, where)
    memory = require_room(recipe, images, where, batch, known)
    chosen, reason, seconds = _choose_precision(recipe, images, where, batch, known)
    seconds_of = ""
    if recipe.steps is None and recipe.epochs is None and world == 1:
        if usual := usual_pace(known, chosen):
            seconds, seconds_of = usual
        elif seconds is None:
            seconds = statistics.median(time_steps(recipe, (chosen,), images, where, batch)[chosen])
    return Plan(
        steps=_steps(recipe, count // batch, seconds, world),
        images=count,
        batch=batch,
        size=size,
        channels=channels,
        precision=chosen,
        precision_reason=reason,
        seconds_per_step=seconds,
        seconds_of=seconds_of,
        memory=memory,
    )


def known_of(recipe: Recipe, images: np.ndarray, where: np.ndarray) -> Path | None:
    """Where it is kept what was found out about such steps, see remembered.py; None of several processes, which know
    neither their GPUs yet nor one another's pace, and where there are too few images to learn from."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 or len(where) < 2:
        return None
    batch = batch_of(recipe, len(where), 1)
    return place(recipe, images.shape[1], images.shape[3], batch // recipe.accumulate, reads(recipe.task))


def batch_of(recipe: Recipe, count: int, world: int) -> int:
    """Images a step of all processes together, as many for every process and micro-batch.

    Raises UserError where some would get fewer than two.
    """
    parts = recipe.accumulate * world
    asked = recipe.batch or max(recipe.batch_size, EACH * world)
    batch = min(asked, count) // parts * parts
    if batch < 2 * parts:
        few = f"{count} images are" if count < asked else f"--batch {asked} is"
        among = [f"{world} processes"] * (world > 1) + [f"--accumulate {recipe.accumulate}"] * (recipe.accumulate > 1)
        raise UserError(f"{few} too few for {' and '.join(among) or 'a step'}: each part of a batch needs at least 2.")
    return batch


def _steps(recipe: Recipe, epoch: int, seconds: float | None, world: int) -> int:
    """How many steps there will be: as asked, so many epochs, or as many as fit into the minutes."""
    if recipe.steps is not None:
        return recipe.steps
    if recipe.epochs is not None:
        return max(1, round(recipe.epochs * epoch))
    if world > 1 or seconds is None:
        raise UserError("With several processes give --epochs or --steps: minutes cannot be foretold from one of them.")
    return max(1, round((recipe.minutes or MINUTES) * 60 / seconds))


def reads(task: Any) -> dict[str, str]:
    """Marks of what parts of a task read beside the images, earlier runs and weights, by their place in it."""
    return {place: mark for place, part in _readers(task, "task") if (mark := part.reads())}


def doubts(task: Any) -> list[str]:
    """Why earlier runs that a task's views read are not to be relied on, each reason once."""
    said = [one for _, part in _readers(task, "task") if isinstance(part, ViewSource) for one in part.doubts()]
    return list(dict.fromkeys(said))


def _readers(part: Any, place: str) -> Iterator[tuple[str, ViewSource | Corruption | Distance]]:
    """All views, corruptions and distances within a task, with their place in it."""
    if isinstance(part, ViewSource | Corruption | Distance):
        yield place, part
    if isinstance(part, tuple):
        held = {f"{place}[{i}]": one for i, one in enumerate(part)}
    else:
        names = [field.name for field in fields(part)] if is_dataclass(part) else []
        held = {f"{place}.{name}": getattr(part, name) for name in names}
    for inner, one in held.items():
        yield from _readers(one, inner)


def require_unchanged(recipe: Recipe, known: dict[str, str]) -> None:
    """Raises UserError where what a run reads beside the images is no longer what it was when the run began."""
    now = reads(recipe.task)
    changed = [place for place, mark in known.items() if now.get(place) != mark]
    if changed:
        raise UserError(
            f"What {changed[0]} reads has changed since this run began: half of the training would have seen something "
            "else. Put back what was there (a run, its kept answers, weights), or begin anew with another --out."
        )


def build(recipe: Recipe, size: int, channels: int) -> Model:
    """The encoder and the task's parts, their random weights a function of the recipe's seed."""
    from selfsight.seeds import seed_of

    encoder = recipe.backbone.build(channels, size, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, "parts"))
        return Model(encoder, recipe.task.parts(encoder))


def state_of(recipe: Recipe, model: Model, fabric: Engine, steps: int) -> State:
    """A training of `model` as the recipe has it, at step 0."""
    return State(
        recipe.task,
        model,
        recipe.optimizer,
        fabric,
        steps=steps,
        seed=recipe.seed,
        growth=recipe.growth,
        fused=recipe.fused,
    )


def _require_growable(recipe: Recipe, images: np.ndarray, where: np.ndarray) -> None:
    """Raises UserError where the encoder or the task cannot be asked about smaller pictures."""
    fabric = solitary("32-true")
    model = build(recipe, images.shape[1], images.shape[3])
    state = state_of(recipe, model, fabric, 1000)
    try:
        advance(state, [resident(fabric, images, where[:16])])
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise UserError(
            f"{type(recipe.task).__name__} with {type(recipe.backbone).__name__} takes pictures of "
            f"{images.shape[1]} pixels alone, and growth begins with smaller ones: leave --growth out, or take a "
            f"convolutional encoder and a task without a decoder. ({str(error).splitlines()[0]})"
        ) from error


def _choose_precision(
    recipe: Recipe, images: np.ndarray, where: np.ndarray, batch: int, known: Path | None
) -> tuple[str, str, float | None]:
    if recipe.precision != "auto":
        return recipe.precision, "as asked", None
    if not bf16_is_native():
        return "32-true", "this processor has no bf16 of its own", None
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return "bf16-mixed", "the processor has it; not timed with several processes", None
    if timed := recalled(known):
        return timed.precision, timed.reason(), None
    took = time_steps(recipe, ("32-true", "bf16-mixed"), images, where, batch)
    timed = Timed.of(took)
    remember(known, timed)
    return timed.precision, timed.reason(), statistics.median(took[timed.precision])


def time_steps(
    recipe: Recipe, precisions: tuple[str, ...], images: np.ndarray, where: np.ndarray, batch: int
) -> dict[str, list[float]]:
    """Seconds of some real steps of a throw-away copy of the training, each precision in turn; where pictures grow, a
    step is the mean of one of each side.

    The first step of each is left out: it also allocates, chooses kernels and may compile.
    """
    sides = len(recipe.growth) + 1
    enough = TIMED_SECONDS * len(precisions) if len(precisions) > 1 else ALONE_SECONDS
    states = {
        precision: state_of(recipe, build(recipe, images.shape[1], images.shape[3]), solitary(precision), 1000)
        for precision in precisions
    }
    part = batch // recipe.accumulate // int(os.environ.get("WORLD_SIZE", 1))
    took: dict[str, list[float]] = {precision: [] for precision in precisions}
    started = 0.0
    for step in range(1 + TIMED_STEPS):
        for precision, state in states.items():
            rows = where[order(recipe.seed, step, len(where), batch)]
            before = time.perf_counter()
            parts = [rows[i * part : (i + 1) * part] for i in range(recipe.accumulate)]
            batches = [resident(state.fabric, images, some) for some in parts]
            for stage in range(sides):
                state.step = -(-stage * state.steps // sides) + step
                advance(state, batches)
            took[precision].append((time.perf_counter() - before) / sides)
        if step == 0:
            started = time.perf_counter()
        elif step > 1 and time.perf_counter() - started > enough:
            break
    return {precision: seconds[1:] for precision, seconds in took.items()}


def resident(fabric: Engine, images: np.ndarray, rows: np.ndarray) -> Batch:
    """Some rows of images (all, H, W, C), as a step gets them, where it computes."""
    pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
    return Batch(fabric.to_device(pixels), fabric.to_device(torch.from_numpy(rows.astype(np.int64))))


def untrained(recipe: Recipe, plan: Plan) -> torch.nn.Module:
    """The encoder as it was before the first step."""
    return without_weights(recipe.backbone).build(plan.channels, plan.size, recipe.seed).eval().requires_grad_(False)
