"""A diagnosis as one HTML file that needs nothing else: the verdict, the evidence with pictures, and the cure tried."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from selfsight.check import Finding, Grade
from selfsight.diagnosis import Diagnosis, Repair
from selfsight.errors import UserError
from selfsight.instruments.fit import EVERY
from selfsight.reporting.charts import Line, line_chart
from selfsight.reporting.markup import Markup, Node, table, tag
from selfsight.reporting.page import POLICY
from selfsight.reporting.sections import data_address, section
from selfsight.reporting.style import SHEET
from selfsight.run import replacing

CHIPS = {Grade.PROVEN: "worse", Grade.MEASURED: "worse", Grade.NOTE: "open"}
CELL = 14
"""Side of a cell of a drawn matrix, in pixels."""
OWN_SHEET = """
.finding{margin:0 0 2.2rem}.finding h3{margin:.2rem 0 .4rem}
.matrix rect{fill:var(--accent)}.matrix{width:min(100%,18rem);height:auto;background:var(--grid)}
.drawn{image-rendering:pixelated;max-width:100%;width:32rem;height:auto}
"""


def write_page(diagnosis: Diagnosis, out: Path) -> Path:
    """Writes the page to `out`. Raises UserError where that cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            temporary.write_text(page(diagnosis), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write the diagnosis to {out}: {error.strerror}. Give another place.") from error
    return out


def page(diagnosis: Diagnosis) -> str:
    """The whole page."""
    name = f"Diagnosis of {diagnosis.name}"
    head = tag(
        "head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"), tag("title", f"{name} · selfsight"),
        tag("style", Markup(SHEET + OWN_SHEET)),
    )  # fmt: skip
    alarms = [finding for finding in diagnosis.findings if finding.alarms]
    notes = [finding for finding in diagnosis.findings if not finding.alarms]
    body = tag(
        "body",
        tag("header", tag("p", "selfsight doctor", class_="kicker"), tag("h1", name),
            tag("p", diagnosis.verdict, class_="verdict")),
        tag("main",
            section("findings", "What was found", [_finding(finding) for finding in alarms]) if alarms else None,
            _repair(diagnosis.repair) if diagnosis.repair else None,
            section("batch", "In pictures", _drawn(diagnosis)) if diagnosis.pictures else None,
            section("notes", "Worth knowing", [_finding(finding) for finding in notes]) if notes else None,
            section("asked", "What was asked", _asked(diagnosis))),
        tag("footer", tag("p", f"Examined in {diagnosis.seconds:.0f} s. What a check sees, and what it cannot see: ",
                          tag("code", "selfsight doctor --explain CODE"))),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _finding(finding: Finding) -> Markup:
    plain = {name: value for name, value in finding.evidence.items() if not isinstance(value, list)}
    rows = [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in plain.items()]
    return tag(
        "article",
        tag("span", str(finding.grade), class_=f"chip {CHIPS[finding.grade]}"), " ", tag("code", finding.code),
        tag("h3", f"{finding.component}: {finding.cause}"), tag("p", finding.sentence),
        tag("p", "At ", tag("code", str(finding.place))) if str(finding.place) else None,
        tag("p", tag("b", "Cure. "), finding.cure),
        [_picture(name, value) for name, value in finding.evidence.items() if isinstance(value, list) and value],
        table(("evidence", "value"), rows, f"Evidence of {finding.code}") if rows else None,
        class_="finding",
    )  # fmt: skip


def _picture(name: str, value: list[Any]) -> Markup | None:
    """A list of numbers as a curve, a list of lists as a matrix."""
    if isinstance(value[0], list):
        return tag("figure", _matrix(name, value), tag("figcaption", name, class_="note"))
    points = [(float(i), float(v)) for i, v in enumerate(value) if isinstance(v, int | float) and math.isfinite(v)]
    return (
        line_chart([Line(name, points, "trained")], alt=f"{name}, over time", small=True) if len(points) > 1 else None
    )


def _matrix(name: str, rows: list[list[float]]) -> Markup:
    """Squares as large as the numbers: row = the example that was changed, column = the one whose output moved."""
    largest = max((abs(v) for row in rows for v in row if math.isfinite(v)), default=0.0) or 1.0
    squares = []
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            side = CELL * min(1.0, math.sqrt(abs(value) / largest)) if math.isfinite(value) else 0.0
            if side > 0.3:
                left, top = j * CELL + (CELL - side) / 2, i * CELL + (CELL - side) / 2
                place = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{side:.1f}", "height": f"{side:.1f}"}
                squares.append(tag("rect", **place))
    size = f"0 0 {CELL * max(map(len, rows))} {CELL * len(rows)}"
    return tag("svg", squares, viewBox=size, role="img", aria_label=f"{name}, as squares", class_="matrix")


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "no scale"


def _repair(repair: Repair) -> Markup:
    lines = [
        Line(name, [(float(i * EVERY), max(-0.5, value)) for i, value in enumerate(curve)], look)
        for name, curve, look in (
            ("swapped", repair.curve_after, "trained"),
            ("as it is", repair.curve_before, "raw"),
        )
        if len(curve) > 1
    ]
    last = max((len(repair.curve_before), len(repair.curve_after), 2)) - 1
    lines.append(Line("best constant answer", [(0.0, 0.0), (float(last * EVERY), 0.0)], "constant"))
    went = (
        ""
        if not math.isfinite(repair.after)
        else (
            f" Progress on {repair.on} went from {_number(repair.before)} to {repair.after:.2f}, where 0 is the best "
            "constant answer and 1 the best of all."
        )
    )
    told = f"{repair.said[0].upper()}{repair.said[1:]}."
    text = f"The {repair.component} was swapped out for {repair.swapped}.{went} {told}"
    chart = line_chart(lines, alt="Progress on a frozen batch, before and after the swap") if len(lines) > 1 else None
    return section("repair", "The cure tried", tag("p", text), chart)


def _drawn(diagnosis: Diagnosis) -> Node:
    return [
        tag("figure", tag("img", src=data_address(content, "png"), alt=name, class_="drawn"),
            tag("figcaption", name, class_="note"))
        for name, content in diagnosis.pictures.items()
    ]  # fmt: skip


def _asked(diagnosis: Diagnosis) -> Node:
    left = [(code, "does not apply", why) for code, why in diagnosis.not_applicable.items()]
    left += [(code, "not asked", why) for code, why in diagnosis.skipped.items()]
    return [
        tag("p", "Found nothing: ", ", ".join(diagnosis.passed) or "none", "."),
        table(("check", "", "why"), left, "Checks that were not asked") if left else None,
    ]
