"""What runs say of themselves reaches whoever uses them: the doctor, its handbook, and trainings made with them."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import selfsight
from selfsight.cli import run as command
from selfsight.corruptions import CutOut, Decolour, Downsample
from selfsight.doctor.told import TOLD, told_by
from selfsight.encoders import Small
from selfsight.findings import plain_findings
from selfsight.imagined import Imagined
from selfsight.imagining import imagine
from selfsight.run import Run
from selfsight.tasks import SimCLR
from selfsight.views import CodedViews, GeneratedViews, LearnedViews, ViewmakerViews

DOUBT = {"code": "G001", "grade": "NOTE", "sentence": "The two answers are one.", "cure": "Draw more codes."}
QUIET = Console(quiet=True)
TWO = (Decolour(), CutOut())


def trained(views, photo_folder, out, steps=2, console=QUIET):
    return selfsight.pretrain(
        photo_folder, task=SimCLR(views=views), encoder=Small(width=4), size=32, steps=steps, batch=16, out=out,
        console=console, doctor="off", precision="32-true",
    )  # fmt: skip


@pytest.fixture
def doubted(restorer_run, tmp_path):
    """A run whose answers are not to be used."""
    place = tmp_path / "doubted"
    shutil.copytree(restorer_run, place)
    Run(place).write("findings", [DOUBT, {"code": "L310", "sentence": "Of a check.", "cure": ""}])
    return str(place)


def test_views_of_a_doubted_restorer_are_said_to_be_so(doubted, photo_folder, tmp_path):
    kept = imagine(doubted, photo_folder, answers=2, corruption=CutOut(), out=tmp_path / "kept", console=QUIET)
    about = Imagined.open(kept).about["doubts"]
    assert about[0] == "G001: The two answers are one. Draw more codes."
    assert about[1].startswith("The restorer never saw CutOut, ")
    for number, place in enumerate((doubted, str(kept))):
        said = Console(file=io.StringIO(), width=200)
        trained(GeneratedViews(restorer=place), photo_folder, tmp_path / str(number), console=said)
        assert said.file.getvalue().count("The two answers are one.") == 1
    for views in (LearnedViews, CodedViews):
        assert views(restorer=doubted).doubts()[0] == "G001: The two answers are one. Draw more codes."


def test_a_restorer_that_is_not_doubted_says_nothing(restorer_run):
    assert list(GeneratedViews(restorer=restorer_run).doubts()) == []
    assert list(ViewmakerViews().doubts()) == []


def test_what_a_restorer_never_saw_is_said(restorer_run):
    """It was trained on less colour and detail."""
    said = "The restorer never saw CowMask, CropOut, CutOut, and can only guess at it."
    assert LearnedViews(restorer=restorer_run).doubts()[0].startswith(said)
    assert list(LearnedViews(restorer=restorer_run, actions=(Decolour(), Downsample())).doubts()) == []
    assert (
        GeneratedViews(restorer=restorer_run, corruption=CutOut())
        .doubts()[0]
        .startswith("The restorer never saw CutOut")
    )
    assert list(GeneratedViews(restorer=restorer_run, corruption=Decolour()).doubts()) == []


def test_the_doctor_repeats_what_a_run_says_and_no_more(doubted):
    assert [(found.code, found.sentence) for found in told_by(doubted)] == [("G001", "The two answers are one.")]
    assert told_by(Run(Path(doubted))) == told_by(doubted)
    assert told_by("no run") == told_by(None) == []


def test_its_verdict_names_a_doubted_restorer(doubted, photo_folder):
    diagnosis = selfsight.examine(Run(Path(doubted)), photo_folder, checks=(), quick=True)
    assert diagnosis.exit_code == 0
    assert diagnosis.verdict.endswith("but with what came of it: the two answers are one.")


@pytest.mark.parametrize("code", [told.code for told in TOLD])
def test_every_code_is_explained(code, capsys):
    assert command(["doctor", "--explain", code]) == 0
    said = capsys.readouterr().out
    assert code in said and "How it is detected" in said and "What it cannot see" in said


def codes(run):
    return {one["code"] for one in plain_findings(run, 0)} - {"L001", "R001"}


@pytest.mark.parametrize(
    ("views", "found"),
    [
        (LearnedViews(actions=TWO, budget=1.0, rate=1e-9), {"P002"}),  # its reward reaches nothing
        (LearnedViews(actions=TWO, budget=1.0, reward="none"), set()),
        (LearnedViews(actions=TWO, budget=0.02, reward="none"), {"P003"}),
        (CodedViews(codes=2, rate=1e-9), {"P002"}),
        (CodedViews(codes=2, reward="none"), set()),
    ],
)
def test_policies_that_were_trained_are_judged(views, found, restorer_run, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("selfsight.findings.TRIED", 20)
    views = replace(views, restorer=restorer_run)
    assert codes(trained(views, photo_folder, tmp_path / "a", steps=22)) == found
