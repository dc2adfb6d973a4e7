"""Every task, the same encoder, the same minutes: what is each worth, alone and together?

    python benchmarks/pretext.py --seconds 120 --seeds 3 --out benchmarks/results/pretext.json --work runs/pretext

On the sets of benchmarks/quality.py (see benchmarks/README.md). Every training has as many steps as fit into so many seconds
of one thread, told by timing a step of each in turn, so that a busy machine changes no result; a task that alternates is
given its parts' mean. A row is one training: set, task, seed, steps, and the accuracy of kNN, logistic regression and
few-shot, with intervals; of the first --finetuned seeds also after fine-tuning on 1,000 labelled images. Beside them stand
raw pixels and hand-made features, the encoder untrained, and one taught by all labels for the same time. Probes know at
most 20,000 labelled images. Each row is kept in WORK as it ends; a second call goes on where the first stopped.

A claim is a puzzle's kNN accuracy less that of whichever of SimCLR, VICReg and BYOL is best on that set, in points, paired
over seeds, with Student's t; it holds where it is above 0 beyond the interval. A second kind is held against hand-made features.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import SAID, costs
from dots import Dot, dots
from quality import COLOURFUL, GARMENTS, SETS
from record import Claim, conclude, interval, kept, parser
from supervised import Supervised

import selfsight
from selfsight import tasks
from selfsight.embedding import embed_images
from selfsight.engine import engine
from selfsight.evaluation import evaluate_subjects
from selfsight.images.handmade import handmade_features
from selfsight.plan import build
from selfsight.probe import Labelled, Probe, Subject
from selfsight.probes import KNN, FewShot, FineTune, Logistic
from selfsight.sources import Packed
from selfsight.store import Packing, Store, pack
from selfsight.storing import learned_from, natural_size
from selfsight.task import Task
from selfsight.together import Together
from selfsight.train import State, train
from selfsight.verbs import divide

PRECISION, BATCH, KNOWN, TUNED = "bf16-mixed", 256, 20_000, 1_000
"""Precision and images a step of every training; labelled images for probes, and for fine-tuning."""
BATCHES = {"Tokens": 64, "Decompose": 32, "Saliency": 32}
"""Images a step where a step does many passes: with 256 there would be a handful of steps."""
VIEWS = {"emoji": COLOURFUL, "fashion_mnist": GARMENTS, "patches_gray": selfsight.Views()}
"""The views that suit each set, for the tasks that compare views."""
COMPARED = ("SimCLR", "VICReg", "BYOL")
"""What a puzzle is held against."""
REFERENCES = ("raw pixels", "hand-made features", "untrained", "supervised")
QUICK = ("SimCLR", "Rotation", "Quadrants")


@dataclass(frozen=True)
class Entry:
    """One task under the name it has in the table."""

    name: str
    task: Task

    @property
    def batch(self) -> int:
        return BATCHES.get(self.name, BATCH)


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
    given.add_argument("--seconds", type=float, default=120.0, help="of one thread, for the steps of each training")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--finetuned", type=int, default=1, help="seeds that are fine-tuned, too")
    given.add_argument("--picture", type=Path, help="also draw kNN accuracies here, as SVG")
    given.add_argument("--gather", action="store_true", help="train nothing: tell what WORK holds")
    given.add_argument("--work", type=Path, default=Path("runs/pretext"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.seconds, words.seeds, words.sets, words.finetuned = 30.0, 1, "emoji", 0
    only = (words.only or ",".join(QUICK)).split(",") if words.quick or words.only else None
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for place in words.sets.split(","):
        if not (words.data / SETS[place].place).exists():
            print(f"{place} is not in {words.data} and is left out")
            continue
        for row in _rows(place, only, words):
            shown = "  ".join(f"{name} {100 * score['value']:.1f}" for name, score in row["scores"].items())
            print(f"{place:14} {row['task']:20} {row['seed']} {row['steps']:5} steps  {shown}", flush=True)
            rows.append(row)
    if words.picture:
        words.picture.write_text(picture(rows, words.seconds), encoding="utf-8")
    conclude("pretext", list(claims(rows)), rows, words.out)


def _rows(place: str, only: Sequence[str] | None, words: Any) -> Iterator[dict[str, Any]]:
    """One row per task and seed, and what is no training's once; what WORK holds already is not made again."""
    source = SETS[place].source(words.data / SETS[place].place, words.work)
    store = pack(source, Packing(size=natural_size(source.open())), out=words.work / f"{place}.store")
    every = [Entry(name, tasks.Rotation()) for name in REFERENCES] + entries(place)
    wanted = [
        replace(entry, task=_supervised(store, place)) if entry.name == "supervised" else entry for entry in every
    ]
    wanted = [entry for entry in wanted if only is None or entry.name in (*only, *REFERENCES)]
    trained = [entry for entry in wanted if entry.name not in REFERENCES[:3]]
    timed = {entry.name: partial(_timed, store, entry) for entry in trained if "+" not in entry.name}
    cost = {} if words.gather else costs(words.work / f"{place} costs.json", timed)
    for seed in range(words.seeds):
        for entry in wanted:
            if entry.name in REFERENCES[:2] and seed:
                continue
            at = words.work / f"{place} {entry.name} {seed} {words.seconds:g}.json"
            if words.gather and not at.exists():
                continue
            told = {"set": place, "task": entry.name, "seed": seed}
            tuned = seed < words.finetuned
            yield kept(at, told, _made, store, entry, cost, words.seconds, seed, tuned)


def _supervised(store: Store, place: str) -> Task:
    return Supervised(codes=store.labels().codes, views=VIEWS[place])


def _timed(store: Store, entry: Entry) -> Iterator[Any]:
    state, where = _state(store, entry.task, SAID, 0)
    return train(state, store.images, where, batch=entry.batch)


def _state(store: Store, task: Task, steps: int, seed: int) -> tuple[State, np.ndarray]:
    """A training at its first step, and the images that it may see."""
    recipe = selfsight.Recipe(
        data=Packed(str(store.path)), task=task, steps=max(1, steps), seed=seed, precision=PRECISION
    )
    model = build(recipe, store.images.shape[1], store.images.shape[3])
    where = learned_from(store)
    if isinstance(task, Supervised):
        where = where[task.codes[where] >= 0]
    return State(task, model, recipe.optimizer, engine(PRECISION), steps=steps, seed=seed), where


def _made(
    store: Store, entry: Entry, cost: Mapping[str, float], seconds: float, seed: int, tuned: bool
) -> dict[str, Any]:
    """Trains, where the name asks for it, and judges -> steps, loss and scores."""
    if entry.name == "raw pixels":
        return {"steps": 0, "scores": judged(store, lambda rows: _pixels(store, rows), None, seed, False)}
    if entry.name == "hand-made features":
        return {
            "steps": 0,
            "scores": judged(store, lambda rows: handmade_features(store.images[rows]), None, seed, False),
        }
    steps = 0 if entry.name == "untrained" else max(2, round(seconds / cost_of(entry, cost)))
    (state, where), loss = _state(store, entry.task, steps, seed), None
    for step in train(state, store.images, where, batch=entry.batch):
        loss = step.loss
    encoder = state.model.encoder.eval()
    scores = judged(store, lambda rows: embed_images(encoder, store.images, rows), encoder, seed, tuned)
    return {"steps": steps, "loss": loss, "constant": entry.task.constant(entry.batch).loss, "scores": scores}


def _pixels(store: Store, rows: np.ndarray) -> np.ndarray:
    return store.images[rows].reshape(len(rows), -1).astype(np.float32) / 255


def cost_of(entry: Entry, cost: Mapping[str, float]) -> float:
    """Seconds of a step; the parts' mean where they take turns."""
    return statistics.fmean(cost[name] for name in entry.name.split(" + "))


def judged(store: Store, features: Any, encoder: Any, seed: int, tuned: bool) -> dict[str, dict[str, float]]:
    """Accuracy by each probe, with its interval."""
    known, asked, classes, codes = divide(store, seed)
    drawn = np.random.default_rng(0).permutation(known)[:KNOWN]
    train_part, val = (Labelled(features(rows), codes[rows], store.images[rows]) for rows in (drawn, asked))
    few = Labelled(train_part.features[:TUNED], train_part.labels[:TUNED], train_part.images[:TUNED])
    asks: list[tuple[Probe, Subject]] = [
        (probe, Subject("it", train_part, val, classes)) for probe in (KNN(), Logistic(), FewShot())
    ]
    if tuned and encoder is not None:
        asks.append((FineTune(epochs=4, least=0), Subject("it", few, val, classes, lambda: encoder)))
    found = {}
    for probe, subject in asks:
        for score in evaluate_subjects([subject], [probe], seed).scores:
            if score.metric == "accuracy":
                found[score.probe] = {"value": score.value, "low": score.low, "high": score.high, "n": score.n}
    return found


def picture(rows: Sequence[dict[str, Any]], seconds: float) -> str:
    """kNN accuracies by set and task, best first where all sets have one; a range spans the seeds' intervals over
    images."""
    panels: dict[str, dict[str, Dot]] = {}
    for place, name in dict.fromkeys((row["set"], row["task"]) for row in rows):
        found = [_score(row) for row in rows if (row["set"], row["task"]) == (place, name)]
        values = [100 * score["value"] for score in found]
        ends = [100 * score[end] for score in found for end in ("low", "high")]
        panels.setdefault(place, {})[name] = Dot(statistics.fmean(values), min(ends), max(ends))
    names = sorted(
        dict.fromkeys(row["task"] for row in rows if row["task"] not in REFERENCES),
        key=lambda name: statistics.fmean(
            panel[name].value - panel["untrained"].value for panel in panels.values() if name in panel
        ),
        reverse=True,
    )
    looks = dict.fromkeys(REFERENCES, "reference") | {
        name: "compared" if name in COMPARED else "puzzle" for name in names
    }
    return dots(f"kNN accuracy after {seconds:g} seconds of one thread", panels, looks, " %")


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """Every puzzle against the best of those that compare views, and against hand-made features, by kNN."""
    told = {(row["set"], row["task"], row["seed"]): _knn(row) for row in rows}
    for place in dict.fromkeys(row["set"] for row in rows):
        names = dict.fromkeys(row["task"] for row in rows if row["set"] == place)
        rivals = {name: _accuracies(told, place, name) for name in COMPARED if name in names}
        if not rivals:
            continue
        best = max(rivals, key=lambda name: statistics.fmean(rivals[name].values()))
        crafted = told.get((place, "hand-made features", 0))
        for name in names:
            if name in (*COMPARED, *REFERENCES):
                continue
            own = _accuracies(told, place, name)
            shared = sorted(own.keys() & rivals[best].keys())
            if shared:
                gains = [100 * (own[seed] - rivals[best][seed]) for seed in shared]
                yield _claim(f"{place}, {name}: points of kNN accuracy above {best}", gains)
            if crafted is not None:
                gains = [100 * (value - crafted) for value in own.values()]
                yield _claim(f"{place}, {name}: points of kNN accuracy above hand-made features", gains)


def _claim(name: str, values: Sequence[float]) -> Claim:
    mean, low, high = interval(values)
    return Claim(name, mean, low, high, len(values), 0.0, low > 0)


def _accuracies(told: Mapping[tuple[str, str, int], float], place: str, name: str) -> dict[int, float]:
    """kNN accuracy by seed."""
    return {seed: value for (where, task, seed), value in told.items() if (where, task) == (place, name)}


def _knn(row: Mapping[str, Any]) -> float:
    return float(_score(row)["value"])


def _score(row: Mapping[str, Any]) -> dict[str, float]:
    return next(dict(score) for name, score in row["scores"].items() if name.startswith("kNN"))


if __name__ == "__main__":
    main()
