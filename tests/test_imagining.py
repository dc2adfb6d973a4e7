"""Answers are kept as they were made, told of, and read as views."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rich.console import Console

import selfsight
from selfsight.batch import Batch
from selfsight.cli import run
from selfsight.corruptions import Blur
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.imagined import Imagined, writing
from selfsight.imagining import imagine, judged
from selfsight.seeds import generator
from selfsight.sources import Folder
from selfsight.store import Packing, pack
from selfsight.tasks import SimCLR
from selfsight.views import GeneratedViews

QUIET = Console(quiet=True)
SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


@pytest.fixture(scope="module")
def store(photo_folder, tmp_path_factory):
    return pack(Folder(photo_folder), Packing(size=32), out=tmp_path_factory.mktemp("imagining") / "photos.store")


@pytest.fixture(scope="module")
def answers(restorer_run, store, tmp_path_factory):
    return imagine(restorer_run, str(store.path), answers=3, out=tmp_path_factory.mktemp("kept") / "a", console=QUIET)


def batch_of(store, rows):
    return Batch(torch.from_numpy(store.images[rows]).permute(0, 3, 1, 2), torch.tensor(rows))


def test_every_image_has_its_answers(answers, store):
    kept = Imagined.open(answers)
    assert kept.answers.shape == (240, 3, 32, 32, 3)
    assert kept.about["store"] == store.key
    assert kept.about["images_per_second"] > 0
    assert (np.abs(kept.answers[:, 0].astype(int) - kept.answers[:, 1]).mean((1, 2, 3)) > 0).all()
    near = np.abs(kept.left.astype(int) - store.images).mean()
    far = np.abs(kept.left.astype(int) - np.roll(store.images, 1, 0)).mean()
    assert near < 0.9 * far  # what was left is of the image that has its place, though it lost its colours
    assert json.loads((answers / "quality.json").read_text())["numbers"]


def test_the_same_seed_gives_the_same_answers(answers, restorer_run, store, tmp_path):
    again = imagine(restorer_run, str(store.path), answers=3, out=tmp_path / "b", console=QUIET)
    other = imagine(restorer_run, str(store.path), answers=3, out=tmp_path / "c", seed=1, console=QUIET)
    assert np.array_equal(Imagined.open(again).answers, Imagined.open(answers).answers)
    assert not np.array_equal(Imagined.open(other).answers, Imagined.open(answers).answers)


def test_views_read_them(answers, store):
    rows = [3, 100, 239]
    source = GeneratedViews(restorer=str(answers), choose="all", views=SAME)
    found = source.example(batch_of(store, rows), generator("x"))
    kept = Imagined.open(answers)
    assert source.shown() == 3
    wanted = torch.from_numpy(kept.answers[rows]).permute(0, 1, 4, 2, 3).float() / 255
    for i in range(3):  # in any order
        each = [min(float((one - other).abs().max()) for other in wanted[i]) for one in found.inputs[i]]
        assert max(each) < 1e-5
    two = GeneratedViews(restorer=str(answers), views=SAME).example(batch_of(store, rows), generator("x"))
    assert two.inputs.shape[1] == 2
    assert (two.inputs[:, 0] - two.inputs[:, 1]).abs().amax((1, 2, 3)).min() > 0


def test_what_cannot_be_read(answers, store, tmp_path):
    moved = Batch(batch_of(store, [3, 4]).images, torch.tensor([4, 3]))
    with pytest.raises(UserError, match="240 other images than these"):
        GeneratedViews(restorer=str(answers)).example(moved, generator("x"))
    beyond = Batch(batch_of(store, [3]).images, torch.tensor([240]))
    with pytest.raises(UserError, match="other images"):
        GeneratedViews(restorer=str(answers)).example(beyond, generator("x"))
    with pytest.raises(UserError, match="holds 3 answers to each image, not 4"):
        GeneratedViews(restorer=str(answers), answers=4).example(batch_of(store, [3]), generator("x"))
    with pytest.raises(UserError, match="name no other corruption"):
        GeneratedViews(restorer=str(answers), corruption=Blur()).example(batch_of(store, [3]), generator("x"))
    with pytest.raises(UserError, match="holds no answers"):
        Imagined.open(tmp_path)


def test_what_is_stopped_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "a", (2, 2, 8, 8, 3)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="is there already"), writing(tmp_path / "b", (2, 2, 8, 8, 3)):
        pass


def test_damage_is_told(answers, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(answers, broken)
    np.save(broken / "answers.npy", np.zeros((240, 3, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="damaged"):
        Imagined.open(broken)


def test_a_perfect_answer_keeps_the_class_and_a_strangers_does_not(answers, store):
    """Judged on answers that are the images themselves, and on ones that are other images' of another class."""
    import dataclasses

    kept, encoder = Imagined.open(answers), Small(width=8).build(3, 32).eval()
    same = dataclasses.replace(kept, answers=np.repeat(store.images[:, None], 3, 1), left=np.array(store.images))
    # folders come one after another: forty on is the next class
    other = dataclasses.replace(same, answers=np.roll(same.answers, 40, 0))
    numbers = [judged(one, store, encoder, "x").numbers for one in (same, other)]
    right = [float(told["of an answer"].split(" ")[0]) for told in numbers]
    truth = float(numbers[0]["class by 10 neighbours, of the image"].split(" ")[0])
    assert right[0] == truth > 50
    assert right[1] < 20
    assert numbers[0]["pixels: between two answers to an image"] == "0.0000"
    assert numbers[0]["features: of an answer and its image"] == "1.000"


def test_the_command_and_its_page(restorer_run, store, tmp_path, capsys):
    words = [
        "imagine",
        restorer_run,
        str(store.path),
        "--answers",
        "2",
        "--out",
        str(tmp_path / "a"),
        "--corruption",
        "blur",
    ]
    assert run(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a")
    page = (tmp_path / "a" / "quality.html").read_text()
    assert page.count('alt="answer 2"') == 12
    assert "http" not in page.replace("http-equiv", "")
    assert json.loads((tmp_path / "a" / "answers.json").read_text())["corruption"] == "blur"
    with pytest.raises(UserError, match="at least 2, not 1"):
        imagine(restorer_run, str(store.path), answers=1, console=QUIET)


def test_a_training_on_kept_answers_is_the_same_again(answers, store, tmp_path):
    task = SimCLR(views=GeneratedViews(restorer=str(answers), choose="most_different", weigh=1.0), hidden=32)
    given = {"task": task, "batch": 24, "doctor": "off", "encoder": Small(width=8), "console": QUIET, "steps": 4}
    given["precision"] = "32-true"
    whole = selfsight.pretrain(str(store.path), out=tmp_path / "whole", **given)
    assert len(whole.lines("series")) == 4
    again = selfsight.pretrain(str(store.path), out=tmp_path / "again", **given)
    assert whole.lines("series") == again.lines("series")
