"""A recipe that cannot learn says so within its first minute, once, and goes on unless it is strict."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

import selfsight
from selfsight.doctor.preflight import FirstMinute
from selfsight.encoders import Small
from selfsight.task import Constant
from selfsight.workbench import Unhealthy

TINY = {"encoder": Small(width=8), "batch": 48, "precision": "32-true"}


def trained(data, out, **settings):
    console = Console(file=io.StringIO(), width=200)
    run = selfsight.pretrain(data, out=out, console=console, **{**TINY, "steps": 6, **settings})
    return run, console.file.getvalue()


def test_a_healthy_recipe_is_told_nothing(photo_folder, tmp_path):
    run, said = trained(photo_folder, tmp_path / "r")
    assert "PROVEN" not in said
    assert "MEASURED" not in said
    assert not [finding for finding in run.json("findings") if finding["grade"] != "NOTE"]


def test_a_rate_a_thousand_times_too_high(photo_folder, tmp_path):
    optimizer = selfsight.Optimization(rate=2.0, warmup=0.0)
    run, said = trained(photo_folder, tmp_path / "r", optimizer=optimizer, steps=60, task=selfsight.Rotation())
    assert said.count("the rate is the first") == 1
    assert (run.path / "finished.json").exists()


def test_images_of_one_colour(tmp_path):
    blank = np.full((96, 32, 32, 3), 90, dtype=np.uint8)
    blank += np.arange(96, dtype=np.uint8)[:, None, None, None]
    with pytest.raises(Unhealthy):
        trained(blank, tmp_path / "r", doctor="strict")
    run, said = trained(blank, tmp_path / "s")
    assert said.count("D102") == 1
    assert "D102" in {finding["code"] for finding in run.json("findings")}


def test_a_twin_that_never_moves(photo_folder, tmp_path):
    _, said = trained(photo_folder, tmp_path / "r", task=selfsight.BYOL(momentum=1.0, hidden=32, projection=16))
    assert said.count("E601") == 1


def test_nothing_is_looked_at_when_it_is_off(photo_folder, tmp_path):
    _, said = trained(photo_folder, tmp_path / "r", task=selfsight.BYOL(momentum=1.0, hidden=32), doctor="off")
    assert "E601" not in said


def test_a_loss_that_sits_at_the_constant_answers_is_named_once():
    minute = FirstMinute(Constant(float(np.log(95)), "ln(2 N - 1)"), 48)
    said = [finding for step in range(80) for finding in minute.look(float(np.log(95)) + 0.003 * (-1) ** step)]
    assert [finding.code for finding in said] == ["L308"]
    assert "ln(2N - 1) with N = 48" in said[0].sentence
    falling = FirstMinute(Constant(float(np.log(95)), "ln(2 N - 1)"), 48)
    assert [finding for step in range(80) for finding in falling.look(4.5 - 0.03 * step)] == []


def test_strict_leaves_with_1_and_says_how_to_learn_more(photo_folder, tmp_path):
    words = ["--encoder.width", "8", "--batch", "48", "--precision", "32-true", "--steps", "6", "--strict"]
    words += ["--task", "BYOL", "--task.momentum", "1.0", "--task.hidden", "32"]
    done = subprocess.run(
        [sys.executable, "-m", "selfsight", "pretrain", photo_folder, "--out", str(tmp_path / "r"), *words],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "E601" in done.stderr
    assert f"selfsight doctor {tmp_path / 'r'}" in done.stderr
