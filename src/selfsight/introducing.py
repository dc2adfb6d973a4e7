"""What a training says of itself before its first step: on the screen, and as plan.json."""

from __future__ import annotations

import dataclasses
import shutil

from rich.console import Console

from selfsight.encoder import Encoder
from selfsight.plan import Plan, doubts, reads
from selfsight.recipe import Recipe
from selfsight.run import Run
from selfsight.store import Store


def write_plan(run: Run, recipe: Recipe, store: Store, plan: Plan, encoder: Encoder) -> None:
    """plan.json, and lists of what was left out of the images."""
    constant = recipe.task.constant(plan.batch // recipe.accumulate)
    run.write(
        "plan",
        {
            **dataclasses.asdict(plan),
            "task": type(recipe.task).__name__,
            "question": recipe.task.question(),
            "constant": constant.loss,
            "constant_note": constant.meaning,
            "constant_is_optimal": constant.optimal,
            "encoder": type(recipe.backbone).__name__,
            "dim": encoder.dim,
            "parameters": _weights(encoder),
            "adapted": encoder.note,
            "loaded": str(encoder.loaded) if encoder.loaded else None,
            "store": store.key,
            "reads": reads(recipe.task),
            "skipped": len(store.skipped),
            "duplicates": len(store.duplicates),
        },
    )
    for name in ("skipped.csv", "duplicates.csv"):
        if (store.path / name).exists():
            shutil.copyfile(store.path / name, run.path / name)


def introduce(run: Run, recipe: Recipe, plan: Plan, encoder: Encoder, console: Console) -> None:
    """What will be done, said once, before the line that tells how it goes."""
    room = f"; about {plan.memory / 1e9:.1f} GB of memory" if plan.memory else ""
    console.print(
        f"[bold]{run.path}[/bold]: {type(recipe.task).__name__} on {plan.images:,} images of "
        f"{plan.size} x {plan.size}, "
        f"{'colour' if plan.channels == 3 else 'gray'}",
        highlight=False,
    )
    console.print(
        f"encoder of {_weights(encoder):,} parameters, {encoder.dim} features"
        + (f" ({encoder.note})" if encoder.note else "")
        + f"; {plan.precision}: {plan.precision_reason}{room}",
        highlight=False,
    )
    if encoder.loaded:
        console.print(str(encoder.loaded), highlight=False)
    for doubt in doubts(recipe.task):
        console.print(f"What these views are made with: {doubt}", highlight=False, markup=False, soft_wrap=True)


def introduce_pace(plan: Plan, console: Console) -> None:
    """What a training's minutes were planned by, where they were."""
    if plan.seconds_per_step:
        since = f"as on {plan.seconds_of}" if plan.seconds_of else "timed just now"
        console.print(f"{plan.steps:,} steps of {plan.seconds_per_step:.2g} s, {since}", highlight=False)


def _weights(encoder: Encoder) -> int:
    return sum(p.numel() for p in encoder.parameters())
