"""A recipe or a run of selfsight's own as a Program: the same prepare, predict, loss and after_step as in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now
from selfsight.config import configure
from selfsight.plan import build
from selfsight.program import Program
from selfsight.recipe import Recipe
from selfsight.run import Run
from selfsight.seeds import generator
from selfsight.storing import learned_from, store_of
from selfsight.task import Model
from selfsight.train import order

PLANNED = 1000
"""Steps of a schedule where the recipe gives minutes: its shape matters, not its length."""
PASS = 16
"""Batches in a pass, at most: an examination needs no more of a large set."""


class Pictures(Sequence[Tensor]):
    """The images a training may see, as items: (C, H, W) uint8."""

    def __init__(self, images: np.ndarray, where: np.ndarray) -> None:
        self.images, self.where = images, where

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, i: Any) -> Any:
        return torch.from_numpy(np.array(self.images[self.where[i]])).permute(2, 0, 1)


def program_of_recipe(recipe: Recipe, planned: int | None = None) -> Program:
    """The training that a recipe describes, in float32. Decodes the images, or finds them decoded."""
    store = store_of(recipe, Console(stderr=True))
    return program_on(recipe, store.images, learned_from(store), planned)


def program_of_run(run: Run, data: Any = None) -> Program:
    """The training that made a run, from its beginning. data: other images than its own."""
    plan = run.json("plan")
    layers = [run.json("recipe"), *([{"data": str(data)}] if data is not None else [])]
    layers += [{"batch": plan["batch"]}] if "batch" in plan else []
    return program_of_recipe(configure(*layers), plan.get("steps"))


def _lays_out(views: Any) -> bool:
    """Whether what these views show are pictures that small ones are laid into, and no pictures of an image."""
    return bool(getattr(views, "mosaics", False) and getattr(views, "small", 1))


def program_on(recipe: Recipe, images: np.ndarray, where: np.ndarray, planned: int | None = None) -> Program:
    """The training that a recipe describes on decoded images (all, H, W, C) of which it may see `where`."""
    task, size, channels = recipe.task, images.shape[1], images.shape[3]
    batch, steps = min(recipe.batch_size, len(where)), planned or recipe.steps or PLANNED

    def batches() -> Iterator[Example]:
        for step in range(max(1, min(PASS, len(where) // batch))):
            rows = where[order(recipe.seed, step, len(where), batch)]
            pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
            yield task.prepare(Batch(pixels, torch.from_numpy(rows.astype(np.int64))), _now(recipe, step, steps))

    def loss(model: nn.Module, example: Example) -> Tensor:
        return task.loss(_asked(model, task.predict, example), example).loss

    first = next(batches())
    laid = any(_lays_out(getattr(one, "views", None)) for one in getattr(task, "tasks", (task,)))
    pairs = first.answer is None and first.inputs.shape[1] == 2 and not laid
    twin = "twin" in build(recipe, size, channels).parts
    return Program(
        batches=batches,
        model=lambda: build(recipe, size, channels),
        loss=loss,
        optimizer=lambda model: recipe.optimizer.build(model, task.rates()),  # type: ignore[arg-type]
        step=lambda model, optimizer, example: _step(recipe, steps, _whole(model), optimizer, example),
        predict=lambda model, example: _asked(model, task.predict, example),
        criterion=lambda prediction, example: task.loss(prediction, example).loss,
        embed=lambda model, example: _whole(model).encoder(example.inputs[:, 0]),
        views=(lambda example: (example.inputs[:, 0], example.inputs[:, 1])) if pairs else None,
        teacher=(lambda model: _whole(model).parts["twin"]) if twin else None,
        dataset=Pictures(images, where),
        planned_steps=planned or recipe.steps,
    )


def _now(recipe: Recipe, step: int, steps: int) -> Now:
    return Now(step, steps, generator(recipe.seed, "task", step, 0))


def _step(recipe: Recipe, steps: int, model: Model, optimizer: torch.optim.Optimizer, example: Example) -> Tensor:
    """One step as in training, at the rate of its place in the schedule; the optimizer counts its own steps."""
    made = getattr(optimizer, "steps_made", 0)
    optimizer.steps_made = made + 1  # type: ignore[attr-defined]
    for group in optimizer.param_groups:
        group["lr"] = recipe.optimizer.rate_at(min(made, steps - 1), steps) * group["factor"]
    optimizer.zero_grad(set_to_none=True)
    prediction = _asked(model, recipe.task.predict, example)
    found = recipe.task.loss(prediction, example).loss
    found.backward()
    optimizer.step()
    held = {name: value.detach() for name, value in prediction.items()}
    recipe.task.after_step(model, example, held, _now(recipe, made, steps))
    return found.detach()


def _whole(model: nn.Module) -> Model:
    assert isinstance(model, Model)
    return model


def _asked(model: nn.Module, predict: Any, example: Example) -> Any:
    """The prediction, through the model's own forward, as the training asks for it."""
    return model(lambda whole: predict(whole, example))
