"""A run of Restore is taken up again, and its page shows what it can."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import selfsight
from selfsight.answerer import Answerer
from selfsight.cli import main, run
from selfsight.config import parse, recipe_of, recipe_parser
from selfsight.corruptions import Chain, CutOut, Decolour, Downsample
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.restorers import CamNet
from selfsight.restoring import restore
from selfsight.run import Run
from selfsight.seeds import generator
from selfsight.selection import Selection

QUIET = Console(quiet=True)
SMALL = {"encoder": Small(width=8), "batch": 24, "steps": 3, "console": QUIET, "doctor": "off"}


@pytest.fixture(scope="module")
def trained(photo_folder, tmp_path_factory):
    task = selfsight.Restore(restorer=CamNet(width=8), selection=Selection(codes=(2,)), corruption=CutOut())
    out = tmp_path_factory.mktemp("restoring") / "g"
    return selfsight.pretrain(photo_folder, task=task, out=out, size=32, **SMALL).path


def test_answers_differ_and_are_the_same_for_the_same_draws(trained):
    restoring = Answerer.open(trained)
    left = restoring.taken(torch.rand(2, 3, 32, 32, generator=generator("left")), generator("taken"))
    answers = restoring.answers(left, 3, generator("ways"))
    assert answers.shape == (2, 3, 3, 32, 32)
    assert 0 <= answers.min() <= answers.max() <= 1
    assert not torch.equal(answers[:, 0], answers[:, 1])
    assert torch.equal(answers, restoring.answers(left, 3, generator("ways")))
    assert restoring.task.corruption == CutOut()


def test_what_the_run_found_against_its_answers_is_said(trained, tmp_path, capsys):
    kept = Run(trained)
    rows = {row["name"]: row for row in kept.json("scores")["answers"]}
    assert rows["distance between two answers"]["train"] > 0
    before = kept.json("findings")
    kept.write("findings", [{"code": "G001", "grade": "NOTE", "sentence": "All are one.", "cure": "Train longer."}])
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "0.png")
    assert run(["restore", str(trained), str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert "G001: All are one. Train longer." in capsys.readouterr().err
    assert "<p>G001: All are one. Train longer.</p>" in (tmp_path / "page.html").read_text()
    kept.write("findings", before)


def test_a_twin_of_one_answer_is_said_to_be_none_for_several(photo_folder, tmp_path):
    task = selfsight.Restore(restorer=CamNet(width=8, ways=False), selection=Selection(codes=(1,)), corruption=CutOut())
    twin = selfsight.pretrain(photo_folder, task=task, out=tmp_path / "g", size=32, **SMALL).path
    assert any("all its answers to a picture are one" in doubt for doubt in Answerer.open(twin).doubts)


def test_kept_answers_are_no_restorer(tmp_path):
    (tmp_path / "answers.json").write_text("{}")
    with pytest.raises(UserError, match="holds kept answers, and a restorer is wanted here"):
        Answerer.open(tmp_path)


def test_the_weights_are_those_of_the_checkpoint(trained):
    from selfsight.encoder import read_weights

    tensors, _ = read_weights(str(sorted((trained / "checkpoints").iterdir())[-1]))
    for name, value in Answerer.open(trained).stack.state_dict().items():
        assert torch.equal(value, tensors[f"model.parts.restorer.{name}"])


def test_the_page_shows_each_answer_and_names_what_is_left_out(trained, tmp_path, capsys):
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "2.jpg").write_text("no picture")
    assert run(["restore", str(trained), str(tmp_path), "--ways", "4", "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count('alt="answer 4"') == 2
    assert page.count("<img") == 2 * (2 + 4 + 1)
    assert "2.jpg" in page and "2.jpg" in capsys.readouterr().err
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ways", "1"], "--ways is a number of answers, at least 2, not 1"),
        (["/nowhere.png"], "No picture could be read: /nowhere.png: No such file"),
    ],
)
def test_what_cannot_be_restored(trained, tmp_path, words, says, capsys):
    given = words if words[0].startswith("/") else [str(tmp_path), *words]
    with pytest.raises(SystemExit) as end:
        main(["restore", str(trained), *given])
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_a_run_of_another_task_restores_nothing(photo_folder, tmp_path):
    other = selfsight.pretrain(photo_folder, task=selfsight.Rotation(), out=tmp_path / "r", size=32, **SMALL)
    with pytest.raises(UserError, match="trained on Rotation, which restores nothing"):
        restore(other.path, photo_folder)


def test_the_short_form_names_the_tasks_corruption():
    parser = recipe_parser()
    words = ["--data", ".", "--task", "Restore", "--corruption", "decolour+downsample", "--corruption.factors", "[4]"]
    recipe = recipe_of(parse(parser, words), parser)
    assert recipe.task.corruption == Chain(corruptions=(Decolour(), Downsample(factors=(4,))))
    with pytest.raises(UserError, match="one corruption; join several"):
        parse(recipe_parser(), ["--data", ".", "--task", "Restore", "--corruption", "blur,noise"])
    with pytest.raises(UserError, match="corruption"):
        parse(recipe_parser(), ["--data", ".", "--task", "Rotation", "--corruption", "blur"])
