"""Numbers look alike everywhere, and ticks are round."""

from __future__ import annotations

import itertools
import math

import pytest

from selfsight.reporting import numbers as written

THIN, MINUS = written.THIN, written.MINUS


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.3149, "2.31"), (0.04321, "0.0432"), (1234.5, "1,234"), (-0.34, f"{MINUS}0.340"), (0, "0"),
     (1e-9, f"1.00e{MINUS}09"), (math.nan, "–"), (None, "–"), (True, "–"), ("2", "–"), (math.inf, "–")],
)  # fmt: skip
def test_decimal(value, text):
    assert written.decimal(value) == text


def test_shares_are_told_in_percent_and_others_are_not():
    assert written.score(0.6123, True) == f"61.2{THIN}%"
    assert written.score(-0.0312, False) == f"{MINUS}0.031"
    assert written.interval(0.589, 0.634, True) == "[58.9, 63.4]"
    assert written.interval(None, 0.634, True) == ""
    assert written.difference(0.151, True) == "+15.1 points"
    assert written.difference(-0.1, False) == f"{MINUS}0.100"
    for name in (
        "accuracy",
        "balanced accuracy",
        "kNN accuracy",
        "recall@5",
        "mAP",
        "view retrieval",
        "top-1 accuracy",
    ):
        assert written.is_share(name), name
    for name in ("NMI", "ARI", "effective rank", "alpha", "gradient norm", "mapping cost"):
        assert not written.is_share(name), name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.24, "8.2 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min"), (3599.9, "1 h 0 min"), (None, "–")],
)
def test_duration(seconds, text):
    assert written.duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (2.1, 6.3), (-4, 4), (0, 1200), (0.001, 0.0031), (1e6, 3e6), (-7.3, -7.1)]
)
def test_ticks_are_round_inside_and_even(low, high):
    found = written.ticks(low, high)
    assert 3 <= len(found) <= 10
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in found)
    step = found[1] - found[0]
    assert all(math.isclose(b - a, step, rel_tol=1e-6) for a, b in itertools.pairwise(found))
    lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(lead - round_one) for round_one in (1, 2, 5)) < 1e-6
    assert all(math.isclose(value / step, round(value / step), abs_tol=1e-6) for value in found)


def test_known_ticks():
    assert written.ticks(0, 1200) == [0, 200, 400, 600, 800, 1000, 1200]
    assert [written.tick_text(value, 0.5) for value in (2.0, 2.5)] == ["2.0", "2.5"]
    assert written.tick_text(12_000, 1000) == "12,000"


def test_count():
    assert written.count(1, "image") == "1 image"
    assert written.count(1200, "file was", "files were") == "1,200 files were"
