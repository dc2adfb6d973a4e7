"""The picture of what speed.py measured: each ratio with its range, and the bar it is held to.

    python benchmarks/speed_picture.py benchmarks/results/speed.json benchmarks/results/speed_first_step.json

Claims of later files replace those of the same name. A dot is the median, its line the range over rounds, an upright stroke
the bar; green where the bar is reached.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

LEFT, WIDE, ROW, TOP, FOOT = 430, 420, 30, 34, 40
"""Pixels: for names, for the axis, a line, above the first and below the last."""
TICKS = (0.5, 1, 2, 4, 8, 16)
REACHED, MISSED, QUIET = "#1a7f4b", "#b3541e", "#666"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("results", type=Path, nargs="+")
    given.add_argument("--out", type=Path, default=Path("docs/pictures/speed.svg"))
    words = given.parse_args()
    claims: dict[str, dict[str, Any]] = {}
    for path in words.results:
        claims |= {claim["name"]: claim for claim in json.loads(path.read_text(encoding="utf-8"))["claims"]}
    ratios = [claim for name, claim in claims.items() if "factor of" in name or "times those of" in name]
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(drawn(ratios), encoding="utf-8")


def drawn(claims: Sequence[dict[str, Any]]) -> str:
    """An SVG of one line a claim, on a logarithmic axis."""
    tall = TOP + ROW * len(claims) + FOOT
    lines = [line for number, claim in enumerate(claims) for line in _line(claim, TOP + ROW * number + ROW / 2)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 60} {tall}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="100%" height="{tall}" fill="#fff"/>',
        *_axis(tall - FOOT),
        *lines,
        "</svg>",
        "",
    ])  # fmt: skip


def _x(value: float) -> float:
    share = math.log(max(value, TICKS[0]) / TICKS[0]) / math.log(TICKS[-1] / TICKS[0])
    return LEFT + WIDE * min(share, 1.0)


def _axis(low: float) -> Iterable[str]:
    for tick in TICKS:
        x, strong = _x(tick), tick == 1
        yield f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{low}" stroke="{QUIET if strong else "#ddd"}"/>'
        yield f'<text x="{x}" y="{low + 18}" text-anchor="middle" fill="{QUIET}">{tick:g} x</text>'
    yield f'<text x="{LEFT}" y="20" fill="{QUIET}">slower</text>'
    yield f'<text x="{LEFT + WIDE}" y="20" text-anchor="end" fill="{QUIET}">faster than the other</text>'


def _line(claim: dict[str, Any], y: float) -> Iterable[str]:
    colour = REACHED if claim["holds"] else MISSED
    what, _, way = claim["name"].replace(", better than ", " beside ").replace(", times those of ", " beside ").partition(
        " beside "
    )  # fmt: skip
    name = f"{what.partition(': ')[0]}, beside {way.removesuffix(' by a factor of')}"
    low, high, bar = (_x(claim[key]) for key in ("low", "high", "bar"))
    yield f'<text x="{LEFT - 12}" y="{y + 5}" text-anchor="end">{escape(name)}</text>'
    yield f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
    yield f'<circle cx="{_x(claim["value"])}" cy="{y}" r="5" fill="{colour}"/>'
    yield f'<line x1="{bar}" x2="{bar}" y1="{y - 9}" y2="{y + 9}" stroke="#000" stroke-width="2"/>'
    yield f'<text x="{max(high, bar) + 10}" y="{y + 5}" fill="{colour}">{claim["value"]:.1f}</text>'


if __name__ == "__main__":
    main()
