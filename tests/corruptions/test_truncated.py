"""A truncated spelling is a corruption like any other, and says which run it needs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

import selfsight
from selfsight import checkpoint
from selfsight.cli import main
from selfsight.corruptions import Chain, Decolour, Truncated
from selfsight.errors import UserError
from selfsight.plan import reads, require_unchanged
from selfsight.reading import Reading
from selfsight.recipe import Recipe, to_json
from selfsight.seeds import generator
from selfsight.short import corruptions_asked
from selfsight.tasks import Restore


@pytest.fixture
def images(photographs) -> torch.Tensor:
    """(60, 3, 32, 32)"""
    return torch.from_numpy(photographs[:60]).permute(0, 3, 1, 2).float() / 255


def of(corruption, images, seed="truncated"):
    return corruption(images, generator(seed))


def test_what_is_left_is_what_is_read_after_so_many_tokens(speller_run, images):
    reading = Reading.open(speller_run)
    pictures = reading.spelling.spell(images, reading.encoder).pictures
    for count in (1, 2, 3):
        done = of(Truncated(speller=speller_run, tokens=(count, count)), images)
        assert torch.allclose(done.images, pictures[:, count], atol=1e-6)
    assert not done.images.requires_grad


def test_more_tokens_leave_more(speller_run, images):
    far = [
        (of(Truncated(speller=speller_run, tokens=(count, count)), images).images - images).square().mean((1, 2, 3))
        for count in (1, 2, 3)
    ]
    assert (far[1] <= far[0]).all() and (far[2] <= far[1]).all()
    assert (far[2] < far[0]).any()


def test_it_keeps_what_every_corruption_promises(speller_run, images):
    drawn = Truncated(speller=speller_run, tokens=(1, 3))
    before, globally = images.clone(), torch.random.get_rng_state()
    one, again, other = (of(drawn, images, seed) for seed in ("a", "a", "b"))
    assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)
    assert torch.equal(images, before) and torch.equal(torch.random.get_rng_state(), globally)
    assert one.images.shape == images.shape and one.images.min() >= 0 and one.images.max() <= 1
    assert not one.where.any() and ((one.removed >= 0) & (one.removed <= 1)).all()
    halves = of(drawn, images.bfloat16(), "a")
    assert halves.images.dtype == torch.bfloat16 and (halves.images.float() - one.images).abs().mean() < 0.01
    seldom = of(dataclasses.replace(drawn, chance=0.25), images)
    assert 0.1 < (seldom.images != images).flatten(1).any(1).float().mean() < 0.45
    flat = of(drawn, torch.full((2, 3, 32, 32), 0.5))
    assert flat.images.isfinite().all()


def test_json_and_back(speller_run, tmp_path):
    path = tmp_path / "one.json"
    corruption = Truncated(speller=speller_run, tokens=(2, 3))
    path.write_text(json.dumps(to_json(corruption)))
    assert corruptions_asked(["--corruption", str(path)]) == ([corruption], [])
    words = ["--corruption", "decolour+truncated", "--corruption.speller", speller_run, "--corruption.tokens", "[2, 3]"]
    assert corruptions_asked(words) == ([Chain(corruptions=(Decolour(), corruption))], [])


def test_a_restorer_learns_to_complete_spellings(speller_run, photo_folder, tmp_path):
    from rich.console import Console

    task = Restore(corruption=Truncated(speller=speller_run, tokens=(1, 2)))
    run = selfsight.pretrain(
        photo_folder,
        task=task,
        out=tmp_path / "g",
        steps=2,
        batch=16,
        size=32,
        doctor="off",
        console=Console(quiet=True),
    )
    assert all(0 < line["loss"] < 10 for line in run.lines("series"))


def test_a_speller_that_has_learned_on_stops_a_resume(speller_run, tmp_path):
    run = Path(shutil.copytree(speller_run, tmp_path / "v"))
    corruption = Chain(corruptions=(Decolour(), Truncated(speller=str(run))))
    recipe = Recipe(data=str(tmp_path), task=Restore(corruption=corruption))
    known = reads(recipe.task)
    assert list(known) == ["task.corruption.corruptions[1]"]
    require_unchanged(recipe, known)
    newest = sorted((run / "checkpoints").iterdir())[-1]
    tensors, about = checkpoint.read_weights(str(newest))
    changed = {name: value + 1 for name, value in tensors.items()}
    checkpoint.write_tensors(newest, changed, about)
    with pytest.raises(UserError, match="reads has changed since this run began"):
        require_unchanged(recipe, known)


def test_what_does_not_fit_is_refused(speller_run, restorer_run, photo_folder, images, tmp_path, capsys):
    with pytest.raises(UserError, match="Whose spelling"):
        of(Truncated(), images)
    with pytest.raises(UserError, match="which spells nothing"):
        of(Truncated(speller=restorer_run), images)
    with pytest.raises(
        UserError, match=r"spells pictures of 3 channels and 32 x 32 pixels, and these have 1 and 32 x 32"
    ):
        of(Truncated(speller=speller_run, tokens=(1, 1)), images[:, :1])
    with pytest.raises(UserError, match="3 tokens at most, not 4"):
        of(Truncated(speller=speller_run), images)
    for tokens in ((0, 2), (3, 2)):
        with pytest.raises(ValueError, match="1 <= fewest <= most"):
            Truncated(tokens=tokens)
    with pytest.raises(SystemExit) as left:
        main(["show", "--corruption", "truncated", "--data", photo_folder, "--out", str(tmp_path / "c.png")])
    assert left.value.code == 2
    assert "Whose spelling" in capsys.readouterr().err
