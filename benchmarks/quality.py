"""What an encoder is worth after a given number of minutes, beside raw pixels, hand-made features and itself untrained.

    python benchmarks/quality.py --minutes 5 --seeds 3 --out benchmarks/results/quality.json

Three sets of real images, each in DATA/NAME as class folders under train/ and val/ (benchmarks/README.md says where they
come from); a set that is not there is named and left out. Every row is one training: set, task, seed, minutes, and for
every subject kNN and (but for --quick) logistic regression with intervals. A claim holds where the trained encoder's accuracy is above raw
pixels' by more than the interval of the paired difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import Claim, conclude, parser
from rich.console import Console

import selfsight
from selfsight.evaluation import Evaluation
from selfsight.probe import Probe
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


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    given.add_argument("--minutes", type=float, default=5.0, help="of training, each")
    given.add_argument("--seeds", type=int, default=3)
    words = given.parse_args()
    minutes, seeds = (1.0, 1) if words.quick else (words.minutes, words.seeds)
    probes: list[Probe] = [KNN()] if words.quick else [KNN(), Logistic()]
    console, claims, rows = Console(), [], []
    for name in words.sets.split(","):
        if not (words.data / SETS[name].place).exists():
            console.print(f"{name} is not in {words.data} and is left out")
            continue
        for task in SETS[name].tasks[: 1 if words.quick else None]:
            for seed in range(seeds):
                evaluation, speed = one(name, words.data, task, minutes, seed, console, probes)
                rows.append(
                    {
                        "set": name,
                        "task": type(task).__name__,
                        "seed": seed,
                        "minutes": minutes,
                        "images_per_second": speed,
                        **evaluation.to_json(),
                    }
                )
                claims += claimed(name, task, seed, evaluation)
    conclude("quality", claims, rows, words.out)


def one(
    name: str, data: Path, task: Task, minutes: float, seed: int, console: Console, probes: Sequence[Probe]
) -> tuple[Evaluation, float]:
    """One training -> its evaluation, and images learned from per second."""
    with tempfile.TemporaryDirectory() as scratch:
        source = SETS[name].source(data / SETS[name].place, Path(scratch))
        run = selfsight.pretrain(
            source, task=task, minutes=minutes, seed=seed, out=Path(scratch) / "run", console=console
        )
        evaluation = selfsight.evaluate(run.path, source, probes=probes, console=console, seed=seed)
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


def claimed(name: str, task: Task, seed: int, evaluation: Evaluation) -> list[Claim]:
    """The paired differences to raw pixels, in points of accuracy."""
    return [
        Claim(
            f"{name}, {type(task).__name__}, seed {seed}: {c.probe} above {c.baseline}",
            100 * c.difference,
            100 * c.low,
            100 * c.high,
            c.n,
            0.0,
            c.low > 0,
        )
        for c in evaluation.comparisons
        if c.metric == "accuracy" and c.baseline in ("pixels", "untrained")
    ]


if __name__ == "__main__":
    main()
