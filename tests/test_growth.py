"""Smaller pictures first: sides, means, that the loop shows them, and that a resume goes on alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from rich.console import Console

import selfsight
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.errors import UserError
from selfsight.growth import shrunk, side
from selfsight.plan import build, settle, time_steps
from selfsight.recipe import Recipe
from selfsight.sources import InMemory
from selfsight.tasks import Rotation, SimCLR, Tokens
from selfsight.train import State, train

QUIET = Console(quiet=True)
SMALL = {"encoder": Small(width=4), "batch": 24, "console": QUIET, "doctor": "off"}


def test_sides_rise_to_the_full_one():
    found = [side((0.5, 0.75), step / 9, 64) for step in range(9)]
    assert found == [32, 32, 32, 48, 48, 48, 64, 64, 64]
    assert [side((), done, 64) for done in (0.0, 0.99)] == [64, 64]
    assert side((0.1,), 0.0, 28) == 8, "never below what can be seen"
    assert side((0.5,), 0.0, 28) % 4 == 0
    assert side((0.9,), 0.0, 6) == 6


def test_small_pictures_are_means(photographs):
    images = torch.from_numpy(photographs[:8]).permute(0, 3, 1, 2)
    small = shrunk(images, 16)
    means = images.float().unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    assert small.dtype == torch.uint8 and (small.float() - means).abs().max() <= 0.5
    assert shrunk(images, 32) is images


@dataclass(frozen=True, kw_only=True)
class Watched(Rotation):
    seen: ClassVar[list[int]] = []

    def prepare(self, batch, now):
        self.seen.append(batch.images.shape[-1])
        return super().prepare(batch, now)


def test_the_loop_shows_what_has_grown(photographs):
    Watched.seen.clear()
    recipe = Recipe(data=InMemory(photographs), task=Watched(), encoder=Small(width=4))
    state = State(
        recipe.task, build(recipe, 32, 3), recipe.optimizer, engine("32-true"), steps=6, seed=0, growth=(0.5, 0.75)
    )
    for _ in train(state, photographs, np.arange(240), batch=24):
        pass
    assert Watched.seen == [16, 16, 24, 24, 32, 32]


def test_every_side_is_timed(photographs):
    Watched.seen.clear()
    recipe = Recipe(data=InMemory(photographs), task=Watched(), encoder=Small(width=4), growth=(0.5, 0.75))
    time_steps(recipe, ("32-true",), photographs, np.arange(240), 24)
    assert Watched.seen[:6] == [16, 24, 32, 16, 24, 32]


def test_a_resumed_training_grows_alike(photographs):
    recipe = Recipe(data=InMemory(photographs), task=SimCLR(), encoder=Small(width=4), growth=(0.5,))

    def begun() -> State:
        model = build(recipe, 32, 3)
        return State(recipe.task, model, recipe.optimizer, engine("32-true"), steps=4, seed=0, growth=recipe.growth)

    whole, halted, resumed = begun(), begun(), begun()
    curve = [step.loss for step in train(whole, photographs, np.arange(240), batch=24)]
    for step in train(halted, photographs, np.arange(240), batch=24):
        if step.number == 1:
            break
    resumed.restore(halted.tensors(), 1)
    assert [step.loss for step in train(resumed, photographs, np.arange(240), batch=24)] == curve[1:]


def test_from_a_recipe_to_a_run(photo_folder, tmp_path):
    run = selfsight.pretrain(
        photo_folder, out=tmp_path / "a", task=Rotation(), growth=(0.5,), steps=2, size=32, **SMALL
    )
    assert run.json("recipe")["growth"] == [0.5]
    assert selfsight.configure(run.json("recipe")).growth == (0.5,)


@pytest.mark.parametrize("growth", [(0.0,), (1.0,), (0.5, 0.5), (0.75, 0.5)])
def test_impossible_shares_are_refused(growth):
    with pytest.raises(UserError, match="--growth is a list of shares"):
        Recipe(data=InMemory(np.zeros((4, 8, 8, 3), np.uint8)), growth=growth)


@pytest.mark.parametrize(("task", "encoder"), [(Tokens(), Small(width=4)), (SimCLR(), "vit_tiny_patch16_224")])
def test_what_takes_one_size_alone_is_refused(task, encoder, photographs):
    recipe = Recipe(data=InMemory(photographs), task=task, encoder=encoder, growth=(0.5,), steps=2, batch=24)
    with pytest.raises(UserError, match="takes pictures of 32 pixels alone"):
        settle(recipe, photographs, np.arange(240))
