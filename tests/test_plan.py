"""What a recipe leaves open is settled for the machine and the images."""

from __future__ import annotations

import os

import pytest

from selfsight.checkpoint import write_tensors
from selfsight.distances import LPIPS, Features
from selfsight.encoder import read_weights
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.plan import batch_of, reads, require_unchanged
from selfsight.recipe import Recipe
from selfsight.tasks import Restore, SimCLR


@pytest.mark.parametrize(
    ("task", "asked", "count", "world", "accumulate", "batch"),
    [
        (SimCLR(), None, 1000, 1, 1, 256),
        (SimCLR(), None, 100, 1, 1, 100),
        (SimCLR(), None, 1000, 1, 3, 255),
        (Restore(), None, 1000, 1, 1, 32),
        (Restore(), None, 1000, 8, 1, 64),
        (Restore(), None, 1000, 32, 1, 256),
        (Restore(), None, 1000, 2, 4, 32),
        (SimCLR(), None, 1000, 1, 64, 256),
        (Restore(), 16, 1000, 8, 1, 16),
    ],
)
def test_a_batch_is_the_same_for_every_process(tmp_path, task, asked, count, world, accumulate, batch):
    recipe = Recipe(data=str(tmp_path), task=task, batch=asked, accumulate=accumulate)
    assert batch_of(recipe, count, world) == batch


@pytest.mark.parametrize(
    ("asked", "count", "world", "accumulate", "says"),
    [
        (32, 2000, 17, 1, "--batch 32 is too few for 17 processes: each part"),
        (32, 20, 4, 8, "20 images are too few for 4 processes and --accumulate 8: each part"),
        (None, 50, 1, 32, "--batch 32 is too few for --accumulate 32: each part"),
    ],
)
def test_too_few_for_every_process(tmp_path, asked, count, world, accumulate, says):
    with pytest.raises(UserError, match=says):
        batch_of(Recipe(data=str(tmp_path), task=Restore(), batch=asked, accumulate=accumulate), count, world)


def test_an_encoder_that_has_learned_on_stops_the_resume_of_what_looks_through_it(tmp_path, monkeypatch):
    place = tmp_path / "encoder.safetensors"
    encoder = Small(width=4).build(3, 32)
    about = {"backbone": {"class_path": "selfsight.encoders.Small", "init_args": {"width": 4}}}
    write_tensors(place, dict(encoder.state_dict()), {**about, "size": 32, "channels": 3})
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(data=str(tmp_path), task=Restore(distance=Features(through="encoder.safetensors")))
    assert os.path.isabs(recipe.task.distance.through)
    known = reads(recipe.task)
    assert list(known) == ["task.distance"]
    monkeypatch.chdir("/")
    require_unchanged(recipe, known)
    tensors, said = read_weights(str(place))
    write_tensors(place, {name: value + 1 for name, value in tensors.items()}, said)
    with pytest.raises(UserError, match=r"What task\.distance reads has changed"):
        require_unchanged(recipe, known)


def test_other_weights_of_lpips_are_told_from_these(tmp_path):
    place = tmp_path / "vgg.pth"
    place.write_bytes(b"some")
    task = Restore(distance=LPIPS(vgg=str(place)))
    known = reads(task)
    place.write_bytes(b"others")
    assert known and reads(task) != known
