"""Every task, the same encoder, the same minutes: what is each worth, alone and together?

    python benchmarks/pretext.py --minutes 5 --seeds 3 --out benchmarks/results/pretext.json --work runs/pretext

On the sets of benchmarks/quality.py (see benchmarks/README.md). Every row is one training: set, task, seed, and for every
subject kNN, logistic regression, few-shot and fine-tuning (--quick: kNN) with intervals, beside raw pixels, hand-made
features and the untrained encoder. Each training is kept in WORK as it ends; a second call goes on where the first
stopped. A claim is a puzzle's kNN accuracy less that of the best of SimCLR, VICReg and BYOL of the same set and seed, its
interval made of the ends of both; it holds where the two intervals do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quality import COLOURFUL, GARMENTS, SETS, told_of
from record import Claim, conclude, kept, parser
from rich.console import Console

import selfsight
from selfsight import tasks
from selfsight.probe import Probe
from selfsight.probes import KNN, FewShot, FineTune, Logistic
from selfsight.task import Task
from selfsight.together import Together

VIEWS = {"emoji": COLOURFUL, "fashion_mnist": GARMENTS, "patches_gray": selfsight.Views()}
"""The views that suit each set, for the tasks that compare views."""
COMPARED = ("SimCLR", "VICReg", "BYOL")
"""What a puzzle is held against."""
QUICK = ("SimCLR", "Rotation", "Unmix", "Quadrants", "WhichTransform")


@dataclass(frozen=True)
class Entry:
    """One task under the name it has in the table."""

    name: str
    task: Task


def entries(place: str) -> list[Entry]:
    """Every task there is, with the views that suit the set where it compares views, and two combinations."""
    found = []
    for name in tasks.__all__:
        kind = getattr(tasks, name)
        found.append(Entry(name, kind(views=VIEWS[place]) if name in COMPARED else kind()))
    simclr, rotation = tasks.SimCLR(views=VIEWS[place]), tasks.Rotation()
    found.append(Entry("Rotation + SimCLR", Together(tasks=(rotation, simclr))))
    return [*found, Entry("Rotation + Quadrants", Together(tasks=(rotation, tasks.Quadrants())))]


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default="fashion_mnist,emoji,patches_gray", help="comma-separated")
    given.add_argument("--only", help="comma-separated names of tasks")
    given.add_argument("--minutes", type=float, default=5.0, help="of training, each")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--work", type=Path, default=Path("runs/pretext"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.minutes, words.seeds, words.sets = 0.5, 1, "emoji"
    only = (words.only or ",".join(QUICK)).split(",") if words.quick or words.only else None
    probes: Sequence[Probe] = [KNN()] if words.quick else [KNN(), Logistic(), FewShot(), FineTune()]
    rows, console = [], Console(stderr=True)
    for place in words.sets.split(","):
        if not (words.data / SETS[place].place).exists():
            console.print(f"{place} is not in {words.data} and is left out")
            continue
        wanted = [entry for entry in entries(place) if only is None or entry.name in only]
        rows += list(_rows(place, wanted, words, probes, console))
    conclude("pretext", list(claims(rows)), rows, words.out)


def _rows(
    place: str, wanted: Sequence[Entry], words: Any, probes: Sequence[Probe], console: Console
) -> Iterator[dict[str, Any]]:
    """One row per task and seed; what WORK holds already is not trained again."""
    words.work.mkdir(parents=True, exist_ok=True)
    for seed in range(words.seeds):
        for entry in wanted:
            told = {"set": place, "task": entry.name, "minutes": words.minutes}
            yield kept(
                words.work / f"{place} {entry.name} {seed} {words.minutes:g}.json",
                told, told_of, place, words.data, entry.task, words.minutes, seed, console, probes,
            )  # fmt: skip


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """Each puzzle against the best of the tasks that compare views: points of kNN accuracy, both with intervals."""
    for row in rows:
        rivals = [
            _knn(other)
            for other in rows
            if other["task"] in COMPARED and (other["set"], other["seed"]) == (row["set"], row["seed"])
        ]
        if row["task"] in COMPARED or not rivals:
            continue
        own, best = _knn(row), max(rivals, key=lambda score: score["value"])
        yield Claim(
            f"{row['set']}, {row['task']}, seed {row['seed']}: kNN above the best of {', '.join(COMPARED)}",
            100 * (own["value"] - best["value"]),
            100 * (own["low"] - best["high"]),
            100 * (own["high"] - best["low"]),
            own["n"],
            0.0,
            own["low"] > best["high"],
        )


def _knn(row: dict[str, Any]) -> dict[str, Any]:
    return next(
        score
        for score in row["scores"]
        if score["subject"] == "trained" and score["probe"].startswith("kNN") and score["metric"] == "accuracy"
    )


if __name__ == "__main__":
    main()
