"""What an encoder is worth after a given number of minutes, beside raw pixels, hand-made features and itself untrained.

    python benchmarks/quality.py --minutes 5 --seeds 3 --out benchmarks/results/quality.json --work runs/quality

Three sets of real images, each in DATA/NAME as class folders under train/ and val/ (benchmarks/README.md says where they
come from); a set that is not there is named and left out. Every row is one training: set, task, seed, minutes, and for
every subject kNN and (but for --quick) logistic regression with intervals. A claim holds where the trained encoder's accuracy is above raw
pixels' by more than the interval of the paired difference. Each training is kept in WORK as it ends; a second call goes on
where the first stopped. What is no encoder's is judged once a set.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record import Claim, conclude, kept, parser
from rich.console import Console

import selfsight
from selfsight.evaluation import Evaluation
from selfsight.probe import Probe, Score, Subject
from selfsight.probes import KNN, Logistic
from selfsight.source import Source
from selfsight.sources import Arrays, guess
from selfsight.store import Packing, pack
from selfsight.task import Task


def as_it_is(folder: Path, scratch: Path) -> Source:
    return guess(str(folder))


def in_gray(folder: Path, scratch: Path) -> Source:
    """The set without its colour: there, colour alone tells which photograph a piece is from."""
    store = pack(guess(str(folder)), Packing(size=64, channels=1))
    labels = store.labels()
    names = np.array([labels.classes[code] if code >= 0 else "" for code in labels.codes])
    file = scratch / f"{folder.name}_gray.npz"
    np.savez(file, images=store.images, labels=names, splits=store.splits)
    return Arrays(str(file))


STANDARD = selfsight.Views()
COLOURFUL = selfsight.Views(brightness=0.3, contrast=0.3, saturation=0.2, hue=0.03, gray=0.1)
GARMENTS = selfsight.Views(crop=(0.4, 1.0), hue=0.0, saturation=0.0, gray=0.0, blur=0.0)


@dataclass(frozen=True)
class Set:
    """One set of images, and the views that suit it."""

    place: str
    source: Callable[[Path, Path], Source]
    tasks: tuple[Task, ...]


SETS = {
    "fashion_mnist": Set("fashion_mnist/idx", as_it_is, (selfsight.Rotation(), selfsight.SimCLR(views=GARMENTS))),
    "emoji": Set("emoji", as_it_is, (selfsight.SimCLR(views=COLOURFUL), selfsight.Rotation())),
    "patches_gray": Set("photos/patches", in_gray, (selfsight.SimCLR(views=STANDARD), selfsight.Rotation())),
}


@dataclass(frozen=True)
class KNNOnce(KNN):
    """Judges pixels and hand-made features once, whatever is trained beside them."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        return iter(_once(self, subject, seed, super().scores))


@dataclass(frozen=True)
class LogisticOnce(Logistic):
    """As KNNOnce."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        return iter(_once(self, subject, seed, super().scores))


JUDGED: dict[Hashable, list[Score]] = {}


def _once(probe: Probe, subject: Subject, seed: int, scores: Callable[[Subject, int], Iterator[Score]]) -> list[Score]:
    if subject.build is not None:
        return list(scores(subject, seed))
    key = (probe, seed, subject.name, len(subject.train.labels), subject.val.labels.tobytes())
    if key not in JUDGED:
        JUDGED[key] = list(scores(subject, seed))
    return JUDGED[key]


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    given.add_argument("--minutes", type=float, default=5.0, help="of training, each")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--work", type=Path, default=Path("runs/quality"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.minutes, words.seeds = 1.0, 1
    words.work.mkdir(parents=True, exist_ok=True)
    rows = list(_rows(words, Console()))
    conclude("quality", [claim for row in rows for claim in claimed(row)], rows, words.out)


def _rows(words: Any, console: Console) -> Iterator[dict[str, Any]]:
    """One row per set, task and seed; what WORK holds already is not trained again."""
    probes: list[Probe] = [KNNOnce()] if words.quick else [KNNOnce(), LogisticOnce()]
    for name in words.sets.split(","):
        if not (words.data / SETS[name].place).exists():
            console.print(f"{name} is not in {words.data} and is left out")
            continue
        for task in SETS[name].tasks[: 1 if words.quick else None]:
            for seed in range(words.seeds):
                kind = type(task).__name__
                told, quick = {"set": name, "task": kind, "minutes": words.minutes}, " quick" if words.quick else ""
                yield kept(
                    words.work / f"{name} {kind} {seed} {words.minutes:g}{quick}.json",
                    told, told_of, name, words.data, task, words.minutes, seed, console, probes,
                )  # fmt: skip


def told_of(name: str, data: Path, task: Task, minutes: float, seed: int, *rest: Any) -> dict[str, Any]:
    """What a row tells of one training."""
    evaluation, speed = one(name, data, task, minutes, seed, *rest)
    return {"images_per_second": speed} | evaluation.to_json() | {"seed": seed}  # the evaluation's own is always 0


def one(
    name: str, data: Path, task: Task, minutes: float, seed: int, console: Console, probes: Sequence[Probe]
) -> tuple[Evaluation, float]:
    """One training -> its evaluation, and images learned from per second."""
    with tempfile.TemporaryDirectory() as scratch:
        source = SETS[name].source(data / SETS[name].place, Path(scratch))
        run = selfsight.pretrain(
            source, task=task, minutes=minutes, seed=seed, out=Path(scratch) / "run", console=console
        )
        evaluation = selfsight.evaluate(run.path, source, probes=probes, console=console)
        pace = run.lines("pace")
        speed = sum(line["images"] for line in pace) / sum(line["seconds"] for line in pace)
    shown = {
        f"{score.subject} {score.probe}": round(100 * score.value, 1)
        for score in evaluation.scores
        if score.metric == "accuracy"
    }
    console.print(
        f"{name} {type(task).__name__} seed {seed}, {minutes:g} minutes at {speed:.0f} images/s: {json.dumps(shown)}",
        soft_wrap=True,
    )
    return evaluation, round(speed, 1)


def claimed(row: dict[str, Any]) -> Iterator[Claim]:
    """The paired differences to raw pixels and to itself untrained, in points of accuracy."""
    for c in row["comparisons"]:
        if c["metric"] == "accuracy" and c["baseline"] in ("pixels", "untrained"):
            name = f"{row['set']}, {row['task']}, seed {row['seed']}: {c['probe']} above {c['baseline']}"
            difference, low, high = (100 * c[end] for end in ("difference", "low", "high"))
            yield Claim(name, difference, low, high, c["n"], 0.0, low > 0)


if __name__ == "__main__":
    main()
