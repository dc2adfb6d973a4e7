"""Line charts and range bars as inline SVG, without a script.

The drawing is stretched to its box while strokes keep their width (`vector-effect`), and everything written stands in
HTML beside it, so a chart stays readable on a telephone. Coordinates run from 0 to `SPAN`
in both directions, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfsight.reporting.markup import Markup, tag
from selfsight.reporting.numbers import THIN, number, tick_text, ticks

SPAN = 1000
COLUMNS = 1000
"""Points a drawn line keeps at most, two for each column of pixels that it crosses."""
OUTLIER = 3.0
"""A peak is cut off where it stands more than this many times the range of all other points outside of it."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to [0, SPAN]."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where `value` is, from 0 (low) to SPAN (high); outside of both for a value outside."""
        width = self.high - self.low
        return SPAN / 2 if width <= 0 else (value - self.low) / width * SPAN

    def ticks(self, wanted: int = 5, whole: bool = False, share: bool = False) -> list[tuple[float, str]]:
        """(value, text) of round values on the axis; only integers where `whole`, told in percent where `share`."""
        found = ticks(self.low, self.high, wanted)
        if whole:
            found = [value for value in found if value == int(value)]
        step = found[1] - found[0] if len(found) > 1 else abs(self.high - self.low) or 1.0
        if share:
            return [(value, f"{tick_text(100 * value, 100 * step)}{THIN}%") for value in found]
        return [(value, tick_text(value, 1.0 if whole else step)) for value in found]


@dataclass(frozen=True)
class Line:
    """One line of a chart; a point whose y is not finite interrupts it."""

    name: str
    """As the legend calls it; "" for a line that the legend leaves out."""
    points: Points
    look: str
    """How the style sheet draws it: "trained", "raw", "untrained" or "constant"."""
    dots: bool = False
    """Whether each point is marked."""


@dataclass(frozen=True)
class Band:
    """An area between two heights."""

    name: str
    points: Sequence[tuple[float, float, float]]
    """(x, low, high)"""
    look: str = "trained"


def line_chart(
    lines: Sequence[Line],
    *,
    alt: str,
    x_label: str = "step",
    share: bool = False,
    bands: Sequence[Band] = (),
    small: bool = False,
) -> Markup:
    """A chart of `lines` over one pair of axes, with a legend; `alt` says in a sentence what can be seen.

    Axes are linear; the ticks of y are told in percent where `share`. A constant or untrained line bears its name.
    Raises ValueError where no line has a finite point.
    """
    x, y = axes(lines, bands)
    across = [(x.place(value), text) for value, text in x.ticks(3 if small else 5, whole=True)]
    up = [(SPAN - y.place(value), text) for value, text in y.ticks(3 if small else 5, share=share)]
    grid = [tag("line", x1=0, x2=SPAN, y1=_short(height), y2=_short(height), class_="grid") for height, _ in up]
    drawn = [tag("path", d=area(band.points, x, y), class_=f"band {band.look}") for band in bands]
    for line in lines:
        drawn.append(tag("path", d=path(line.points, x, y), class_=f"line {line.look}"))
        if line.dots:
            drawn.append(tag("path", d=dots(line.points, x, y), class_=f"dots {line.look}"))
    svg = tag("svg", grid, drawn, viewBox=f"0 0 {SPAN} {SPAN}", preserveAspectRatio="none", role="img", aria_label=alt)
    labels = [
        [tag("span", text, class_="ytick", style=f"top:{height / SPAN:.2%}") for height, text in up],
        [_across(left, text, rare=len(across) > 4 and place % 2 == 1) for place, (left, text) in enumerate(across)],
        tag("span", x_label, class_="xname"),
        [_named(line, lines[0], y) for line in lines if _is_reference(line)],
    ]
    box = tag("div", svg, labels, class_="plot small" if small else "plot")
    return tag("figure", _legend(lines, bands), box, class_="chart")


def _across(left: float, text: str, rare: bool) -> Markup:
    """A tick of the x axis; a `rare` one is left out where there is little room."""
    end = left > 0.97 * SPAN  # a long number at the very end would stand out of the page on a telephone
    look = f"xtick{' end' if end else ''}{' rare' if rare else ''}"
    return tag("span", text, class_=look, style=f"left:{left / SPAN:.2%}")


def _is_reference(line: Line) -> bool:
    return line.look in ("constant", "untrained") and bool(line.name)


def _named(line: Line, main: Line, y: Axis) -> Markup:
    """The name of a reference line at its right end, on the side where the main line is not."""
    height = line.points[-1][1]
    ends = [up for _, up in main.points if math.isfinite(up)][-1:] or [height]
    top = (SPAN - y.place(height)) / SPAN
    side = "under" if (ends[0] > height or top < 0.05) and top < 0.92 else "over"
    return tag("span", line.name, class_=f"linename {line.look} {side}", style=f"top:{top:.2%}")


def axes(lines: Sequence[Line], bands: Sequence[Band] = ()) -> tuple[Axis, Axis]:
    """The x and y axis that hold everything, but for far peaks of raw lines (see `OUTLIER`).

    Raises ValueError where no point is finite.
    """
    steady = [point for line in lines if line.look != "raw" for point in line.points]
    steady += [(x, height) for band in bands for x, *heights in band.points for height in heights]
    steady = _finite(steady)
    raw = _finite([point for line in lines if line.look == "raw" for point in line.points])
    if not steady and not raw:
        raise ValueError("a chart needs at least one point that is finite")
    ends = [y for _, y in steady] + list(_without_peaks(np.array([y for _, y in raw])) if raw else ())
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    across = [x for x, _ in steady + raw]
    left, right = min(across), max(across)
    if 0 < left < 0.1 * right:
        left = 0.0  # a training begins at zero, even where its first number comes a little later
    if left == right:
        left, right = left - 1, right + 1
    return Axis(left, right), Axis(low - margin, high + margin)


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _without_peaks(heights: np.ndarray) -> tuple[float, float]:
    low, high = float(heights.min()), float(heights.max())
    inner_low, inner_high = (float(end) for end in np.quantile(heights, (0.01, 0.99)))
    room = OUTLIER * (inner_high - inner_low)
    if room > 0 and high > inner_high + room:
        high = inner_high + room / OUTLIER
    if room > 0 and low < inner_low - room:
        low = inner_low - room / OUTLIER
    return low, high


def path(points: Points, x: Axis, y: Axis) -> str:
    """SVG path data of a line, begun anew after each point that is not finite."""
    written, pen_down = [], False
    for across, up in points:
        if not (math.isfinite(across) and math.isfinite(up)):
            pen_down = False
            continue
        written.append(f"{'L' if pen_down else 'M'}{_short(x.place(across))} {_short(SPAN - y.place(up))}")
        pen_down = True
    return "".join(written)


def dots(points: Points, x: Axis, y: Axis) -> str:
    """SVG path data of a dot at each point: a line of no length, which its round ends make a disc."""
    places = [(x.place(a), SPAN - y.place(b)) for a, b in points if math.isfinite(a) and math.isfinite(b)]
    return "".join(f"M{_short(left)} {_short(top)}h0" for left, top in places)


def area(points: Sequence[tuple[float, float, float]], x: Axis, y: Axis) -> str:
    """SVG path data of the area between low and high."""
    whole = [point for point in points if all(math.isfinite(value) for value in point)]
    if not whole:
        return ""
    there = [(across, high) for across, _, high in whole]
    back = [(across, low) for across, low, _ in reversed(whole)]
    return path(there + back, x, y) + "Z"


def thinned(points: Points, columns: int = COLUMNS) -> list[tuple[float, float]]:
    """At most about two points a column: the lowest and the highest of it, in their order, so that peaks stay visible.

    A column with a point that is not finite keeps one, so that the line is interrupted there.
    """
    if len(points) <= 2 * columns:
        return list(points)
    kept: list[tuple[float, float]] = []
    for part in np.array_split(np.arange(len(points)), columns):
        heights = np.array([points[i][1] for i in part], dtype=float)
        lost = np.flatnonzero(~np.isfinite(heights))
        finite = np.flatnonzero(np.isfinite(heights))
        chosen = set(lost[:1])
        if len(finite):
            chosen |= {finite[heights[finite].argmin()], finite[heights[finite].argmax()]}
        kept += [points[part[place]] for place in sorted(chosen)]
    return kept


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """(n,) centred running mean over `window` values, over fewer at the ends; what is not finite is left out of it."""
    array = np.asarray(values, dtype=float)
    finite = np.isfinite(array)
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, array, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(array)) - half, 0)
    last = np.minimum(np.arange(len(array)) + half + 1, len(array))
    some = counts[last] - counts[first]
    means = (sums[last] - sums[first]) / np.maximum(some, 1)
    return np.where(finite & (some > 0), means, np.nan)


def range_bar(axis: Axis, value: float | None, low: float | None, high: float | None, look: str) -> Markup:
    """A value as a dot and its interval as a bar, on `axis`; said nowhere, since the number stands beside it."""
    where = number(value)
    drawn = [
        tag("line", x1=_short(axis.place(at)), x2=_short(axis.place(at)), y1=0, y2=20, class_="grid")
        for at, _ in axis.ticks(4)
    ]
    if low is not None and high is not None:
        ends = [_short(min(max(axis.place(end), 0), SPAN)) for end in (low, high)]
        drawn.append(tag("path", d=f"M{ends[0]} 10L{ends[1]} 10", class_=f"range {look}"))
    if where is not None:
        drawn.append(tag("path", d=f"M{_short(axis.place(where))} 10h0", class_=f"dot {look}"))
    return tag("svg", drawn, viewBox=f"0 0 {SPAN} 20", preserveAspectRatio="none", class_="bar", aria_hidden="true")


def _legend(lines: Sequence[Line], bands: Sequence[Band]) -> Markup:
    entries = [(line.name, f"key {line.look}") for line in lines if line.name and not _is_reference(line)]
    entries += [(band.name, f"key area {band.look}") for band in bands if band.name]
    return tag("figcaption", [tag("span", tag("i", class_=look), name) for name, look in entries])


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
