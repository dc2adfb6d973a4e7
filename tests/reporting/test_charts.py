"""A drawn line goes through the points it stands for."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from selfsight.reporting.charts import (
    Axis,
    Band,
    Line,
    area,
    axes,
    dots,
    line_chart,
    path,
    range_bar,
    smoothed,
    thinned,
)


def numbers_in(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_known_points_land_where_they_belong():
    x, y = Axis(0, 10), Axis(100, 200)
    assert path([(0, 100), (5, 150), (10, 200)], x, y) == "M0 1000L500 500L1000 0"
    assert dots([(5, 125)], x, y) == "M500 750h0"
    assert area([(0, 100, 150), (10, 150, 200)], x, y) == "M0 500L1000 0L1000 500L0 1000Z"


def test_a_line_is_interrupted_where_a_point_is_not_finite():
    drawn = path([(0, 0), (1, math.nan), (2, 1), (3, math.inf), (4, 1)], Axis(0, 4), Axis(0, 1))
    assert drawn == "M0 1000M500 0M1000 0"


def test_a_flat_or_single_point_is_drawn_in_the_middle():
    x, y = axes([Line("loss", [(7, 3.0)], "trained")])
    assert x.place(7) == pytest.approx(500)
    assert y.place(3.0) == pytest.approx(500)


def test_axes_hold_reference_lines_and_bands_but_cut_far_peaks_of_raw_lines():
    raw = [(step, 1.0 + 0.01 * (step % 10)) for step in range(1000)]
    raw[500] = (500, 1e6)
    lines = [Line("each", raw, "raw"), Line("constant", [(0, 5.0), (999, 5.0)], "constant")]
    _, y = axes(lines, [Band("interval", [(0, -1.0, 2.0)])])
    assert y.low < -1.0
    assert 5.0 < y.high < 6.0
    _, whole = axes([Line("mean", raw, "trained")])
    assert whole.high > 1e6


def test_axes_begin_at_zero_only_where_the_first_step_is_near_it():
    assert axes([Line("", [(1, 0), (1000, 1)], "trained")])[0].low == 0
    assert axes([Line("", [(900, 0), (1000, 1)], "trained")])[0].low == 900


def test_nothing_finite_cannot_be_drawn():
    with pytest.raises(ValueError, match="finite"):
        axes([Line("loss", [(1, math.nan)], "trained")])


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_extremes_order_and_gaps(seed):
    draw = np.random.default_rng(seed)
    points = [(float(step), float(value)) for step, value in enumerate(draw.normal(size=30_000))]
    peak = int(draw.integers(30_000))
    points[peak] = (float(peak), 99.0)
    points[12_345] = (12_345.0, math.nan)
    kept = thinned(points, 200)
    assert len(kept) <= 600
    assert (float(peak), 99.0) in kept
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    assert sum(math.isnan(y) for _, y in kept) == 1
    assert {x for x, _ in kept} <= {x for x, _ in points}


def test_a_short_line_is_not_thinned():
    points = [(float(step), 1.0) for step in range(50)]
    assert thinned(points) == points


def test_smoothing_is_the_mean_of_the_window_and_skips_what_is_not_finite():
    assert smoothed([0, 3, 6, 9], 3).tolist() == pytest.approx([1.5, 3, 6, 7.5])
    found = smoothed([1, math.nan, 3], 3)
    assert found[0] == pytest.approx(1)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(3)
    values = np.random.default_rng(0).normal(size=101)
    slow = [values[max(0, i - 5) : i + 6].mean() for i in range(101)]
    np.testing.assert_allclose(smoothed(values.tolist(), 11), slow)


def test_a_range_bar_stands_at_its_value_and_spans_its_interval():
    bar = range_bar(Axis(0, 1), 0.6, 0.5, 0.7, "trained")
    spanned = re.search(r'd="(M[^"]*)" class="range trained"', bar)
    at = re.search(r'd="(M[^"]*)" class="dot trained"', bar)
    assert spanned is not None
    assert at is not None
    assert numbers_in(spanned[1]) == [500, 10, 700, 10]
    assert numbers_in(at[1])[:2] == [600, 10]
    assert "dot" not in range_bar(Axis(0, 1), None, None, None, "trained")


def test_a_chart_names_its_ticks_and_its_reference_line_on_the_free_side():
    falling = Line("loss", [(0, 6.0), (100, 2.0)], "trained")
    constant = Line("best constant answer, 5.54", [(0, 5.54), (100, 5.54)], "constant")
    drawn = line_chart([falling, constant], alt="The loss falls.")
    assert 'aria-label="The loss falls."' in drawn
    assert "linename constant over" in drawn
    for text in ("2", "3", "4", "5", "6"):
        assert f">{text}</span>" in drawn
    rising, high = Line("loss", [(0, 3.0), (100, 9.0)], "trained"), Line("loss", [(0, 6.0), (100, 9.0)], "trained")
    assert "linename constant under" in line_chart([rising, constant], alt="")
    assert "linename constant over" in line_chart([high, constant], alt="")  # below it there is no room


def test_a_tick_stands_at_the_height_of_its_value():
    drawn = line_chart([Line("share", [(0, 0.0), (10, 1.0)], "trained")], alt="", share=True)
    found = {text: float(top) for top, text in re.findall(r'class="ytick" style="top:([\d.]+)%">([^<]+)<', drawn)}
    y = Axis(-0.06, 1.06)
    assert found["20\N{NARROW NO-BREAK SPACE}%"] == pytest.approx(100 - y.place(0.2) / 10, abs=0.01)
    assert found["100\N{NARROW NO-BREAK SPACE}%"] == pytest.approx(100 - y.place(1.0) / 10, abs=0.01)
