"""What this machine does best is measured, and told."""

import re

import pytest
from rich.console import Console

import selfsight
from selfsight.cli import run
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.speed import ASKED, CEILING, WHOLE, measure
from selfsight.together import Together


def test_batches_are_timed_by_real_steps(photo_folder, capsys):
    assert run(["bench", "batch", photo_folder, "--encoder.width", "8", "--task", "Rotation"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\d+) ", said, re.M) == ["16", "32", "64", "128"]
    best = re.search(r"--batch (\d+) learns from ([\d,]+) images a second", said)
    assert best
    assert re.search(rf"^{best[1]} +{best[2]} ", said, re.M)


def test_ways_to_read_are_timed(photo_folder, capsys):
    assert run(["bench", "data", photo_folder]) == 0
    said = capsys.readouterr().out
    assert "store, memory-mapped" in said
    assert "files, 0 workers" in said
    assert "files, 1 worker " in said
    assert "reads fastest" in said


def test_the_share_of_the_ceiling_is_told(photo_folder, capsys):
    small = ["--encoder.width", "8", "--task", "Rotation", "--batch", "32", "--precision", "32-true"]
    assert run(["bench", "speed", photo_folder, *small]) == 0
    said = capsys.readouterr().out
    told = {name: float(rate.replace(",", "")) for name, rate in re.findall(r"^(.+?)  +([\d,]+)  ", said, re.M)}
    assert set(told) == {WHOLE, CEILING, ASKED, "--precision bf16-mixed", "--batch 16", "--batch 64"}
    share = float(re.search(r"([\d.]+)% of what the network itself allows", said)[1]) / 100
    assert share == pytest.approx(told[WHOLE] / told[CEILING], abs=0.02)


@pytest.mark.parametrize("tasks", [("Rotation", "OddOneOut"), ("OddOneOut",)])
def test_tasks_in_turns_are_held_against_the_same_tasks_and_batches_they_cannot_have_are_left_out(photo_folder, tasks):
    """A puzzle of four different images cannot be made of half a batch of six."""
    made = tuple(getattr(selfsight.tasks, name)() for name in tasks)
    task = Together(tasks=made) if len(made) > 1 else made[0]
    recipe = selfsight.Recipe(data=photo_folder, task=task, encoder=Small(width=4), size=28, batch=6)
    speed = measure(recipe, Console(quiet=True))
    assert [row.setting for row in speed.rows][:3] == [WHOLE, CEILING, ASKED]
    assert "--batch 3" not in [row.setting for row in speed.rows]
    assert 0.3 < speed.share < 1.7  # of the first task alone it would be the other's cost too


def test_what_to_measure_has_to_be_said():
    with pytest.raises(UserError, match="batch, data or speed, not nothing"):
        run(["bench"])
