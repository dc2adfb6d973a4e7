"""Precision is timed once: what was clear is remembered, what was close is not."""

import json

import numpy as np
import pytest

import selfsight
from selfsight import plan
from selfsight.encoders import Small
from selfsight.precision import recalled
from selfsight.sources import InMemory


@pytest.fixture
def timings(monkeypatch, tmp_path):
    """Which precisions each timing was of; a step takes .1 s in bf16, `gain` times that in fp32."""
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "bf16_is_native", lambda: True)
    asked = []

    def begin(gain):
        def time_steps(recipe, precisions, images, where, batch):
            asked.append(precisions)
            return {one: [0.1 * (gain if one == "32-true" else 1)] * 3 for one in precisions}

        monkeypatch.setattr(plan, "time_steps", time_steps)
        return asked

    return begin


def settled(photographs, **settings):
    given = {"steps": 3, "batch": 16, "encoder": Small(width=8)} | settings
    recipe = selfsight.Recipe(data=InMemory(photographs), **given)
    where = np.arange(len(photographs))
    return plan.settle(recipe, photographs, where, plan.known_of(recipe, photographs, where))


@pytest.mark.parametrize(("gain", "chosen"), [(2.0, "bf16-mixed"), (0.6, "32-true")])
def test_what_was_clear_is_not_timed_again(timings, photographs, gain, chosen):
    asked = timings(gain)
    first, again = settled(photographs), settled(photographs)
    assert asked == [("32-true", "bf16-mixed")]
    assert first.precision == again.precision == chosen
    assert f"{gain:.1f} x as fast" in first.precision_reason
    assert f"{gain:.1f} x as fast as fp32, on 20" in again.precision_reason
    assert again.seconds_per_step is None


def test_minutes_time_the_precision_that_is_known_alone(timings, photographs):
    asked = timings(2.0)
    plans = [settled(photographs, steps=None, minutes=1.0) for _ in range(2)]
    assert asked == [("32-true", "bf16-mixed"), ("bf16-mixed",)]
    assert [one.seconds_per_step for one in plans] == [0.1, 0.1]


@pytest.mark.parametrize("gain", [1.0, 1.25])
def test_a_close_race_is_run_again(timings, photographs, gain):
    asked = timings(gain)
    settled(photographs), settled(photographs)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "changed",
    [{"batch": 32}, {"task": selfsight.Rotation()}, {"growth": (0.5,)}, {"accumulate": 2}, {"encoder": Small(width=4)}],
)
def test_another_step_is_timed_for_itself(timings, photographs, changed):
    asked = timings(2.0)
    settled(photographs), settled(photographs, **changed)
    assert len(asked) == 2


@pytest.mark.parametrize("broken", ["", "{", "[]", json.dumps({"gain": "fast", "on": ""}), json.dumps({"gain": 2})])
def test_what_cannot_be_read_is_timed_again(timings, photographs, broken, tmp_path):
    asked = timings(2.0)
    settled(photographs)
    (kept,) = (tmp_path / "cache" / "steps").glob("*/precision.json")
    kept.write_text(broken, encoding="utf-8")
    assert settled(photographs).precision == "bf16-mixed"
    assert len(asked) == 2
    assert recalled(kept.parent) is not None


def test_what_was_timed_long_ago_is_timed_again(timings, photographs, tmp_path):
    asked = timings(2.0)
    settled(photographs)
    (kept,) = (tmp_path / "cache" / "steps").glob("*/precision.json")
    kept.write_text(json.dumps({"gain": 2.0, "on": "2020-01-01"}), encoding="utf-8")
    settled(photographs)
    assert len(asked) == 2


def test_without_a_home_it_is_timed_each_time(timings, photographs, monkeypatch):
    asked = timings(2.0)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("selfsight.remembered.cache", homeless)
    settled(photographs), settled(photographs)
    assert len(asked) == 2
