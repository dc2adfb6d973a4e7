"""What a start found out is remembered: the memory of a step, and how long the steps of a whole training took."""

import dataclasses
import json
import os
import time
from datetime import date

import numpy as np
import pytest
from rich.console import Console

import selfsight
import selfsight.workbench
from selfsight import memory, plan, remembered
from selfsight.encoders import Small
from selfsight.pace import SEEN, Expected, remember_pace, usual_pace
from selfsight.remembered import keep, place, recall
from selfsight.sources import InMemory

TODAY = date.today().isoformat()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def recipe(photographs, **settings):
    given = {"task": selfsight.Rotation(), "batch": 8, "encoder": Small(width=4), "precision": "32-true"}
    return selfsight.Recipe(data=InMemory(photographs), **(given | settings))


def settled(photographs, **settings):
    asked, where = recipe(photographs, **settings), np.arange(len(photographs))
    return plan.settle(asked, photographs, where, plan.known_of(asked, photographs, where))


def lines(*seconds, **more):
    return [{"step": number, "seconds": one, "waiting": 0.0, **more} for number, one in enumerate(seconds, 1)]


def test_minutes_are_planned_by_the_last_whole_training(photographs, tmp_path, monkeypatch):
    def pretrained(name, **length):
        asked = recipe(photographs, **length)
        return selfsight.pretrain(recipe=asked, out=tmp_path / name, doctor="off", console=Console(quiet=True))

    run = pretrained("first", steps=30)
    monkeypatch.setattr(plan, "time_steps", lambda *_: pytest.fail("what is known was timed"))
    told = pretrained("second", minutes=0.005).json("plan")
    took = [line["seconds"] for line in run.lines("pace")]
    assert min(took) < told["seconds_per_step"] < max(took)
    assert told["seconds_of"] == TODAY
    assert told["steps"] == max(1, round(0.3 / told["seconds_per_step"]))


def test_short_trainings_and_such_as_gave_way_are_not_remembered(tmp_path):
    for few in (lines(*[0.1] * 7), lines(*[0.1] * 30) + lines(0.1, threads=1)):
        remember_pace(tmp_path, "32-true", few)
        assert usual_pace(tmp_path, "32-true") is None


def test_the_mean_step_counts_but_not_one_for_which_the_machine_was_halted(tmp_path):
    remember_pace(tmp_path, "32-true", lines(*[0.1, 0.2] * 15, 900.0))
    assert usual_pace(tmp_path, "32-true") == (pytest.approx(0.15), TODAY)
    assert usual_pace(tmp_path, "bf16-mixed") is None


@pytest.mark.parametrize("broken", ["", "[]", '{"seconds": "fast", "on": "%s"}', '{"seconds": 0, "on": "%s"}'])
def test_what_cannot_be_read_is_timed(tmp_path, broken):
    remember_pace(tmp_path, "32-true", lines(*[0.1] * 30))
    (kept,) = tmp_path.iterdir()
    kept.write_text(broken.replace("%s", TODAY), encoding="utf-8")
    assert usual_pace(tmp_path, "32-true") is None


def said(place, seconds, minutes=1.0):
    watch = Expected(place, "32-true", minutes)
    return [watch.look(one) for one in seconds]


@pytest.mark.parametrize(("factor", "minutes"), [(2.0, "2 minutes"), (0.5, "0.5 minutes")])
def test_another_pace_than_remembered_is_told_once_and_forgotten(tmp_path, factor, minutes):
    pattern = [1.0, 1.0, 4.0] * 20  # of tasks in turns
    remember_pace(tmp_path, "32-true", lines(30.0, *pattern))
    looks = said(tmp_path, [9.0, *(factor * one for one in pattern)])
    (told,) = filter(None, looks)
    assert sum(factor * one for one in pattern[: looks.index(told)]) >= SEEN
    assert (
        f"{factor:.2g} times as long as on {TODAY}" in told and f"about {minutes}, not 1" in told and "Ctrl+C" in told
    )
    assert usual_pace(tmp_path, "32-true") is None


def test_the_pace_that_was_remembered_is_not_told_though_steps_differ(tmp_path):
    grown = [0.25] * 60 + [1.0] * 60
    remember_pace(tmp_path, "32-true", lines(*grown))
    assert usual_pace(tmp_path, "32-true")[0] == pytest.approx(0.625)
    assert not any(said(tmp_path, [1.2 * one for one in grown]))
    assert usual_pace(tmp_path, "32-true")
    assert not any(said(None, grown)) and not any(said(tmp_path / "elsewhere", [9.0] * 50))


def test_a_fast_training_is_held_against_its_first_hundred_steps(tmp_path):
    remember_pace(tmp_path, "32-true", lines(*[0.01] * 300))
    looks = said(tmp_path, [0.03] * 300)
    assert looks.index(next(filter(None, looks))) == 99


def test_memory_is_counted_once(photographs, monkeypatch, cache):
    first, counted = settled(photographs, steps=1).memory, memory.foreseen
    monkeypatch.setattr(memory, "foreseen", lambda *_: pytest.fail("what is known was counted"))
    assert settled(photographs, steps=1).memory == first
    monkeypatch.setattr(memory, "foreseen", counted)
    (kept,) = cache.glob("steps/*/memory*.json")
    kept.write_text(json.dumps({"kept": "much", "on": TODAY}), encoding="utf-8")
    assert settled(photographs, steps=1).memory == first
    assert isinstance(recall(kept.parent, kept.stem)["largest"], float)


def test_other_steps_are_counted_for_themselves(photographs):
    assert settled(photographs, steps=1, batch=16).memory > settled(photographs, steps=1).memory


@dataclasses.dataclass(frozen=True)
class Mine(selfsight.Rotation):
    """A task from elsewhere: its code may change while its fields stay."""


@dataclasses.dataclass(frozen=True)
class MyViews(selfsight.Views):
    """Are written into a recipe as if they were ours."""


@pytest.mark.parametrize(
    "task", [selfsight.Together(tasks=(selfsight.Rotation(), Mine())), selfsight.SimCLR(views=MyViews())]
)
def test_of_parts_from_elsewhere_nothing_is_remembered(photographs, cache, task):
    assert place(recipe(photographs, task=task), 32, 3, 8, {}) is None
    settled(photographs, task=task, steps=1)
    assert not (cache / "steps").exists()


def test_of_several_processes_nothing_is_remembered(photographs, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan.known_of(recipe(photographs), photographs, np.arange(240)) is None


def test_other_code_of_ours_is_another_step(photographs, monkeypatch):
    before = place(recipe(photographs), 32, 3, 8, {})
    monkeypatch.setattr(remembered, "_code", lambda: "newer")
    assert place(recipe(photographs), 32, 3, 8, {}) != before


def test_what_is_old_is_removed_as_something_is_kept(tmp_path):
    keep(tmp_path / "steps" / "old", "pace", {"seconds": 1.0})
    long_ago = time.time() - 365 * 86_400
    os.utime(tmp_path / "steps" / "old", (long_ago, long_ago))
    keep(tmp_path / "steps" / "new", "pace", {"seconds": 2.0})
    assert [folder.name for folder in (tmp_path / "steps").iterdir()] == ["new"]


def test_a_resumed_training_is_neither_held_against_the_pace_nor_remembered(photographs, tmp_path, cache):
    quiet = Console(quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selfsight.workbench._any", lambda *_: True)
        with pytest.raises(selfsight.workbench.Stopped):
            selfsight.pretrain(recipe=recipe(photographs, steps=40), out=tmp_path / "run", doctor="off", console=quiet)
    selfsight.resume(tmp_path / "run", console=quiet)
    assert len(selfsight.Run.open(tmp_path / "run").lines("pace")) == 40
    assert not list(cache.glob("steps/*/pace*"))
