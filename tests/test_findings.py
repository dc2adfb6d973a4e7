from __future__ import annotations

import pytest

from selfsight.findings import plain_findings
from selfsight.run import Run


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    made = Run(tmp_path)
    made.write("plan", {"constant": 4.0, "constant_is_optimal": False})
    return made


def told(run, losses, low=0.6, across=0):
    for step, loss in enumerate(losses, 1):
        run.append("series", {"step": step, "loss": loss})
    run.append(
        "probes", {"step": 1, "name": "kNN accuracy", "value": 0.65, "low": low, "high": 0.7, "n": 50, "untrained": 0.5}
    )
    return {finding["code"] for finding in plain_findings(run, across)}


def test_a_healthy_run_has_none(run):
    assert told(run, [4.2] * 30 + [3.0] * 30) == set()


def test_a_loss_at_the_constant_is_found_however_it_began(run):
    assert told(run, [9.0] * 30 + [4.001] * 30) == {"L001"}


def test_where_a_constant_is_the_best_answer_the_loss_says_nothing(run):
    run.write("plan", {"constant": 0.0, "constant_is_optimal": True})
    assert told(run, [3.0] * 30) == set()


def test_a_probe_that_is_no_better_and_shared_images_are_found(run):
    assert told(run, [1.0] * 30, low=0.45, across=3) == {"R001", "D001"}


def test_an_empty_run_has_none(run):
    assert plain_findings(run, 0) == []
