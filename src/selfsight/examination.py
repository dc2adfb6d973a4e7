"""Which probes an evaluation asks, by their short names, and how its result is told on a screen."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from selfsight.errors import UserError, nearest
from selfsight.probe import Probe

if TYPE_CHECKING:
    from selfsight.evaluation import Evaluation

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


def print_evaluation(evaluation: Evaluation, as_json: bool = False) -> None:
    """The scores as a table with intervals, what is conclusive, and what explains them; or everything as JSON."""
    if as_json:
        print(json.dumps(evaluation.to_json()))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    head, *rows = evaluation.table()
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for comparison in evaluation.comparisons:
        if comparison.metric == "balanced accuracy":
            continue  # in the table, the JSON and the report; on a screen it only repeats the accuracy's verdict
        percent = f"{100 * comparison.difference:+.1f} [{100 * comparison.low:+.1f}, {100 * comparison.high:+.1f}]"
        console.print(
            f"{comparison.probe}, {comparison.metric}: {comparison.subject} - {comparison.baseline} = "
            f"{percent} points: "
            f"{comparison.verdict}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for text in [*evaluation.notes, *([evaluation.prior.sentence] if evaluation.prior.sentence else [])]:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
