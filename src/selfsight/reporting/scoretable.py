"""What the representation is worth: scores with their intervals, the trained encoder beside each baseline, by class."""

from __future__ import annotations

from typing import Any

from selfsight.reporting.charts import Axis, range_bar
from selfsight.reporting.evidence import Evidence, Records, dict_at, rows_at, texts_at
from selfsight.reporting.markup import Markup, Node, scrolling, table, tag
from selfsight.reporting.numbers import count, difference, interval, is_share, number, percent, score, whole
from selfsight.reporting.sections import missing, section
from selfsight.reporting.verdict import NAMES, outcome, same_measure

CLASSES = 25
"""Classes shown at once; the others are folded away."""
CHIPS = {"better": "better, conclusive", "worse": "worse, conclusive", "open": "not yet"}


def score_section(evidence: Evidence) -> Markup:
    """Every probe's scores, the trained encoder first, each baseline with the difference to it."""
    evaluations = [item for item in reversed(evidence.evaluations) if rows_at(item, "scores")]
    if not evaluations:
        return section("scores", "Scores", missing("No scores yet", evidence.command("evaluate", "--data LABELLED")))
    data = evidence.scores.get("data")
    note = tag(
        "p", "Same images for every row. Dot: score; bar: 95 % bootstrap interval. A difference is ",
        tag("b", "conclusive"), " where its interval leaves out zero.", f" Labelled images: {data}." if data else None,
        class_="note",
    )  # fmt: skip
    return section("scores", "Scores", _evaluation(evaluations[0]), note, [_earlier(item) for item in evaluations[1:]])


def _evaluation(evaluation: dict[str, Any]) -> Node:
    return [_score_table(evaluation), [tag("p", note, class_="note") for note in texts_at(evaluation, "notes")]]


def _earlier(evaluation: dict[str, Any]) -> Markup:
    summary = tag("summary", f"An earlier evaluation, seed {evaluation.get('seed', 'not known')}")
    return tag("details", summary, _evaluation(evaluation))


def _score_table(evaluation: dict[str, Any]) -> Markup:
    scores, comparisons = rows_at(evaluation, "scores"), rows_at(evaluation, "comparisons")
    bodies: list[Markup] = []
    seen: Records = []
    for row in scores:
        if not any(same_measure(row, other) for other in seen):
            seen.append(row)
            alike = [other for other in scores if same_measure(row, other)]
            alike.sort(key=lambda other: other.get("subject") != "trained")
            bodies.append(_group(alike, [other for other in comparisons if same_measure(row, other)]))
    head = tag(
        "tr",
        tag("th", "representation", scope="col"),
        tag("th", "score", scope="col", class_="number"),
        tag("th", "0 to 1, or 0 to 100 %", scope="col", class_="scale"),
        tag("th", "trained is better by", scope="col", class_="number"),
        tag("th", "verdict", scope="col"),
    )
    return scrolling(tag("table", tag("thead", head), bodies, class_="scores"), "Scores with intervals")


def _group(scores: Records, comparisons: Records) -> Markup:
    first = scores[0]
    metric, share = str(first.get("metric", "")), is_share(str(first.get("metric", "")))
    known = [number(row.get(key)) for row in scores for key in ("value", "low", "high")]
    axis = Axis(min([0.0, *(v for v in known if v is not None)]), max([1.0, *(v for v in known if v is not None)]))
    n = number(first.get("n"))
    images = tag("span", f", n = {whole(n)}", class_="quiet") if n else None
    named = [tag("b", str(first.get("probe", ""))), f" {metric}", images]
    rows = [tag("tr", tag("th", named, colspan=5, scope="rowgroup"), class_="group")]
    for row in scores:
        subject = str(row.get("subject", ""))
        look = "trained" if subject == "trained" else "untrained"
        low, high = number(row.get("low")), number(row.get("high"))
        compared = next((c for c in comparisons if (c.get("subject"), c.get("baseline")) == ("trained", subject)), None)
        ends = tag("span", interval(low, high, share), class_="quiet ends")
        rows.append(tag(
            "tr", tag("th", NAMES.get(subject, subject), scope="row"),
            tag("td", tag("b", score(row.get("value"), share)), " ", ends, class_="number"),
            tag("td", range_bar(axis, number(row.get("value")), low, high, look), class_="scale"),
            *_compared(compared, share), class_=look,
        ))  # fmt: skip
    return tag("tbody", rows)


def _compared(comparison: dict[str, Any] | None, share: bool) -> list[Markup]:
    if comparison is None:
        return [tag("td"), tag("td")]
    way = outcome(comparison)
    ends = tag("span", interval(comparison.get("low"), comparison.get("high"), share), class_="quiet ends")
    return [
        tag("td", difference(comparison.get("difference"), share), " ", ends, class_="number"),
        tag("td", tag("span", CHIPS[way], class_=f"chip {way}")),
    ]


def class_section(evidence: Evidence) -> Markup:
    """Accuracy by class, the weakest first, and what the classes' frequencies explain."""
    content: list[Node] = []
    for evaluation in evidence.evaluations[-1:]:
        content += [_by_class(dict_at(evaluation, "per_class")), _prior(dict_at(evaluation, "prior"))]
    content = [part for part in content if part]
    if not content:
        content = [missing("No accuracy by class yet", evidence.command("evaluate", "--data LABELLED"))]
    return section("classes", "Class by class", content)


def _by_class(found: dict[str, Any]) -> Node:
    rows = rows_at(found, "rows")
    if not rows:
        return None
    subjects = list(dict.fromkeys(key for row in rows for key in row if key not in ("class", "n")))
    subjects.sort(key=lambda subject: subject != "trained")
    leading = subjects[0] if subjects else "n"
    rows = sorted(rows, key=lambda row: (number(row.get(leading)) is None, number(row.get(leading)) or 0.0))
    head = ["class", *(tag("th", name, scope="col", class_="number") for name in ["images", *subjects])]
    cells: list[list[Node]] = [
        [str(row.get("class", "")), tag("td", whole(row.get("n")), class_="number"),
         *(_shaded(row.get(subject), subject == "trained") for subject in subjects)]
        for row in rows
    ]  # fmt: skip
    probe = str(found.get("probe") or "Accuracy")
    title = tag("p", f"{probe}: accuracy of each class, the weakest first.")
    return [
        title,
        table(head, cells[:CLASSES], f"{probe} by class", "classes"),
        _folded(head, cells[CLASSES:], "classes"),
    ]


def _shaded(value: Any, strong: bool) -> Markup:
    share = min(max(number(value) or 0.0, 0.0), 1.0)
    return tag("td", percent(value), class_=f"number shaded{' strong' if strong else ''}", style=f"--share:{share:.3f}")


def _prior(found: dict[str, Any]) -> Node:
    rows = rows_at(found, "rows")
    sentence = found.get("sentence")
    if not rows:
        return tag("p", str(sentence), class_="care") if sentence else None
    keys = [("train", "training images"), ("val", "validation images"), ("predicted", "predictions")]
    totals = {key: sum(number(row.get(key)) or 0.0 for row in rows) for key, _ in keys}
    head = ["class", *(tag("th", name, scope="col", class_="number") for _, name in keys)]
    ranked = sorted(rows, key=lambda row: -(number(row.get("predicted")) or 0.0))
    cells: list[list[Node]] = [
        [
            str(row.get("class", "")),
            *(_shaded((number(row.get(key)) or 0.0) / (totals[key] or 1.0), False) for key, _ in keys),
        ]
        for row in ranked
    ]
    shown = table(head, cells[:CLASSES], "Classes in training, in validation and as predicted", "priors")
    summary = tag("summary", "Share of each class in training, in validation and among the predictions")
    folded = tag("details", summary, shown, _folded(head, cells[CLASSES:], "priors"))
    return [tag("p", str(sentence), class_="care") if sentence else None, folded]


def _folded(head: list[Any], cells: list[list[Node]], look: str) -> Node:
    if not cells:
        return None
    summary = tag("summary", count(len(cells), "more class", "more classes"))
    return tag("details", summary, table(head, cells, "Further classes", look))
