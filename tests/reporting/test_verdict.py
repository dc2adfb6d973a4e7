"""The first sentence says what the numbers say, also where they are bad, few or missing."""

from __future__ import annotations

import math

import pytest

from selfsight.reporting.verdict import verdict

LOSSES = [{"step": step, "loss": 2.31 + 0.01 * (-1) ** step} for step in range(1, 1201)]
PLAN = {"steps": 1200, "constant": 5.541}
SHARED = {"probe": "kNN (k=20)", "metric": "accuracy"}


def scores(**values):
    rows = [
        {**SHARED, "subject": subject.replace("_", "-"), "value": value, "low": value - 0.023, "high": value + 0.022}
        for subject, value in values.items()
    ]
    return rows


def compared(baseline, gained, verdict="conclusive"):
    return {**SHARED, "subject": "trained", "baseline": baseline, "difference": gained, "verdict": verdict}


def evaluated(rows, pairs):
    return {"evaluations": [{"scores": rows, "comparisons": pairs}]}


def plain(text):
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


MEASURED = "the running probe's kNN accuracy is 55.0 % [50.0, 60.0] beside 43.0 % untrained (not compared yet)."


def test_a_good_run(evidence_of):
    found = evaluated(scores(trained=0.612, untrained=0.461), [compared("untrained", 0.151)])
    assert plain(verdict(evidence_of(series=LOSSES, plan=PLAN, scores=found))) == (
        "After 1,200 steps the loss is 2.31, below the best constant answer's 5.54; "
        "kNN accuracy 61.2 % [58.9, 63.4] beside 46.1 % untrained: conclusive."
    )


def test_not_better_and_worse(evidence_of):
    found = evaluated(scores(trained=0.47, untrained=0.461), [compared("untrained", 0.009, "not yet")])
    assert verdict(evidence_of(series=LOSSES, plan=PLAN, scores=found)).endswith("untrained: not yet conclusive.")
    found = evaluated(scores(trained=0.40, untrained=0.461), [compared("untrained", -0.061)])
    assert verdict(evidence_of(series=LOSSES, plan=PLAN, scores=found)).endswith("untrained: conclusively worse.")


def test_baselines_that_are_better_or_as_good_are_named(evidence_of):
    rows = scores(trained=0.612, untrained=0.461, pixels=0.39, hand_made=0.7, supervised=0.615)
    pairs = [compared("untrained", 0.151), compared("pixels", 0.22), compared("hand-made", -0.09),
             compared("supervised", -0.003, "not yet")]  # fmt: skip
    said = plain(verdict(evidence_of(series=LOSSES, plan=PLAN, scores=evaluated(rows, pairs))))
    assert said.endswith(
        "It is worse than hand-made features (70.0 %), is not yet shown to differ from supervised from scratch "
        "(61.5 %) and is better than raw pixels (39.0 %)."
    )


def test_the_latest_evaluation_counts(evidence_of):
    found = evaluated(scores(trained=0.2, untrained=0.1), [])
    found["evaluations"].append({"scores": scores(trained=0.9, untrained=0.1), "comparisons": []})
    assert "90.0" in verdict(evidence_of(series=LOSSES, plan=PLAN, scores=found))


def test_scores_without_baseline_or_comparison(evidence_of):
    said = verdict(evidence_of(series=LOSSES, plan=PLAN, scores=evaluated(scores(trained=0.6), [])))
    assert said.endswith("with no untrained encoder beside it.")
    said = verdict(evidence_of(series=LOSSES, plan=PLAN, scores=evaluated(scores(trained=0.6, untrained=0.4), [])))
    assert said.endswith("untrained, not compared image by image.")


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        (2.3101, "no different from the best constant answer's 2.31, so nothing learned shows in it"),
        (1.5, "above the best constant answer's 1.50, so worse than saying the same to everything"),
        (None, "the loss is 2.31, with no constant answer's loss to hold against it"),
    ],
)
def test_a_loss_that_shows_nothing(evidence_of, constant, expected):
    assert expected in verdict(evidence_of(series=LOSSES, plan={**PLAN, "constant": constant}))


def test_a_constant_that_is_the_best_answer_is_no_yardstick(evidence_of):
    said = verdict(evidence_of(series=LOSSES, plan={"steps": 1200, "constant": 0.0, "constant_is_optimal": True}))
    assert "which alone shows nothing (the best constant answer has 0, the lowest there is)" in said
    assert "above" not in said


def test_a_run_cut_short_and_one_without_a_step(evidence_of):
    assert verdict(evidence_of(series=LOSSES[:340], plan=PLAN)).startswith("After 340 of 1,200 steps the loss is")
    assert verdict(evidence_of()) == (
        "No step has been made yet; what the representation is worth has not been measured."
    )
    assert verdict(evidence_of(series=LOSSES[:1], plan={})).startswith("After 1 step the loss is 2.30")


def test_answers_that_are_not_to_be_used_are_said_at_once(evidence_of):
    doubt = {"code": "G001", "grade": "NOTE", "sentence": "Codes are ignored.", "cure": "Train longer."}
    told = evidence_of(series=LOSSES, plan=PLAN, findings=[doubt, {**doubt, "code": "R001", "sentence": "No better."}])
    assert verdict(told).endswith(". Codes are ignored.")


def test_a_loss_that_is_not_a_number_is_said_with_its_step(evidence_of):
    broken = [*LOSSES[:16], *({"step": step, "loss": math.nan} for step in range(17, 341))]
    said = verdict(evidence_of(series=broken, plan=PLAN))
    assert said.startswith(
        "After 340 of 1,200 steps the loss is not a number (since step 17): this training has failed"
    )
    assert "since step 1)" in verdict(evidence_of(series=[{"step": 1, "loss": None}], plan={}))


def test_the_running_probe_speaks_where_nothing_was_evaluated(evidence_of):
    probes = [
        {"step": 100, "name": "kNN accuracy", "value": 0.55, "low": 0.5, "high": 0.6, "untrained": 0.43},
        {"step": 100, "name": "effective rank", "value": 12.0, "untrained": 6.0},
    ]
    said = plain(verdict(evidence_of(series=LOSSES, plan=PLAN, probes=probes)))
    assert said.endswith(
        "the running probe's kNN accuracy is 55.0 % [50.0, 60.0] beside 43.0 % untrained (not compared yet)."
    )
