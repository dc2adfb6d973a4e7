"""Views of what a corruption leaves."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console

import selfsight
from selfsight.batch import Batch
from selfsight.cli import run
from selfsight.corruptions import CutOut, Decolour, Downsample, Truncated
from selfsight.images.views import Views
from selfsight.recipe import to_json
from selfsight.seeds import generator
from selfsight.tasks import SimCLR
from selfsight.views import CorruptedViews

SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


@pytest.fixture
def batch(photographs) -> Batch:
    return Batch(torch.from_numpy(photographs[:8]).permute(0, 3, 1, 2), torch.arange(8))


def test_two_draws_of_what_is_left(batch):
    found = CorruptedViews(corruption=CutOut(), views=SAME).example(batch, generator("x"))
    draws, images = generator("x"), batch.images.float() / 255
    for v in range(2):
        left = CutOut()(images, draws).images
        assert torch.allclose(found.inputs[:, v], left, atol=0.6 / 255)
    assert not torch.equal(found.inputs[:, 0], found.inputs[:, 1])


def test_beside_the_image(batch):
    found = CorruptedViews(corruption=Decolour(), beside="image", views=SAME).example(batch, generator("x"))
    assert torch.allclose(found.inputs[:, 0], batch.images / 255, atol=1e-6)
    left = found.inputs[:, 1]
    assert torch.allclose(left[:, 0], left[:, 2], atol=1.01 / 255)
    assert found.extras["removed"].shape == (8,)


def test_they_are_viewed_as_any_picture(batch):
    plain, turned = (
        CorruptedViews(corruption=Downsample(), views=views).example(batch, generator("x")).inputs
        for views in (SAME, Views())
    )
    assert plain.shape == turned.shape == (8, 2, 3, 32, 32)
    assert (plain - turned).abs().mean() > 0.05


@pytest.mark.parametrize("beside", ["image", "corrupted"])
def test_a_spelling_cut_short_is_a_view(speller_run, photo_folder, tmp_path, beside):
    views = CorruptedViews(corruption=Truncated(speller=speller_run, tokens=(1, 2)), beside=beside)
    made = selfsight.pretrain(
        photo_folder,
        task=SimCLR(views=views),
        out=tmp_path / "a",
        steps=2,
        batch=16,
        size=32,
        doctor="off",
        console=Console(quiet=True),
    )
    assert made.json("recipe")["task"]["init_args"]["views"] == to_json(views)
    assert list(made.json("plan")["reads"]) == ["task.views.corruption"]


def test_the_short_form(photo_folder, tmp_path):
    words = ["--task", "SimCLR", "--views", "corrupted", "--corruption", "cutout", "--corruption.size", "[0.3, 0.5]"]
    assert run(["show", *words, "--data", photo_folder, "--out", str(tmp_path / "v.png")]) == 0
    assert (tmp_path / "v.png").stat().st_size > 1000
