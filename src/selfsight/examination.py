"""Which probes an evaluation asks, by their short names, and how its result is told on a screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from selfsight.errors import UserError, nearest
from selfsight.probe import Probe

if TYPE_CHECKING:
    from selfsight.evaluation import Comparison, Evaluation

Number = TypeVar("Number", int, float)

BESIDE = 6
"""Subjects that a table has room for side by side."""
PROBES = ("knn", "linear", "fewshot", "finetune", "clustering", "retrieval")


def chosen(names: str, *, within_val: bool = False, balanced: bool = False) -> list[Probe]:
    """The probes of a comma-separated list, "all" being every one. Raises UserError for an unknown name."""
    from selfsight import probes

    made: dict[str, Probe] = {
        "knn": probes.KNN(restrict_to_val=within_val),
        "linear": probes.Logistic(restrict_to_val=within_val, balanced=balanced),
        "fewshot": probes.FewShot(restrict_to_val=within_val),
        "finetune": probes.FineTune(restrict_to_val=within_val),
        "clustering": probes.Clustering(),
        "retrieval": probes.Retrieval(),
    }
    asked = list(PROBES) if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if name not in made:
            raise UserError(
                f"There is no probe {name!r}{nearest(name, PROBES)}. Give some of {', '.join(PROBES)}, or all."
            )
    if not asked:
        raise UserError(f"No probe was named. Give some of {', '.join(PROBES)}, or all.")
    return [made[name] for name in asked]


def numbers(word: str, given: str, kind: type[Number]) -> list[Number]:
    """The numbers of a comma-separated list. Raises UserError, which names the word, where one is none."""
    try:
        return [kind(each) for each in given.split(",") if each.strip()]
    except ValueError:
        told = "whole numbers such as 5,20" if kind is int else "numbers such as 0.5,2"
        raise UserError(f"{word} is a list of {told}, not {given!r}.") from None


def print_evaluation(evaluation: Evaluation, as_json: bool = False) -> None:
    """The scores as a table with intervals, what is conclusive, and what explains them; or everything as JSON."""
    if as_json:
        print(json.dumps(evaluation.to_json()))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = evaluation.table()
    many = len(rows[0]) - 2 > BESIDE
    if many:  # a line each, and not a column
        told = [row for row in rows[1:] if row[1] != "balanced accuracy"]
        heads = ["", *(f"{row[0]}, {row[1]} (%)" for row in told)]
        names = [name.removesuffix(" (%)") for name in rows[0][2:]]
        rows = [heads, *([name, *(row[2 + i] for row in told)] for i, name in enumerate(names))]
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    for line in _summed_up(evaluation) if many else _compared(evaluation):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for text in [*evaluation.notes, *([evaluation.prior.sentence] if evaluation.prior.sentence else [])]:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _told(evaluation: Evaluation) -> list[Comparison]:
    """Balanced accuracy is in JSON and report; on a screen it only repeats the accuracy's verdict."""
    return [comparison for comparison in evaluation.comparisons if comparison.metric != "balanced accuracy"]


def _compared(evaluation: Evaluation) -> Iterator[str]:
    """A line for each difference."""
    for one in _told(evaluation):
        percent = f"{100 * one.difference:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
        yield f"{one.probe}, {one.metric}: {one.subject} - {one.baseline} = {percent} points: {one.verdict}"


def _summed_up(evaluation: Evaluation) -> Iterator[str]:
    """A line for each probe: than which of many it is better, and than which worse."""
    for probe, metric in dict.fromkeys((one.probe, one.metric) for one in _told(evaluation)):
        found: dict[str, list[str]] = {"better than": [], "worse than": [], "not yet told from": []}
        for one in _told(evaluation):
            if (one.probe, one.metric) == (probe, metric):
                word = (
                    "not yet told from" if one.verdict == "not yet" else "better than" if one.low > 0 else "worse than"
                )
                found[word].append(one.baseline)
        subject = evaluation.comparisons[0].subject
        parts = [f"{word} {', '.join(names)}" for word, names in found.items() if names]
        yield f"{probe}, {metric}: {subject} is {'; '.join(parts)}"
