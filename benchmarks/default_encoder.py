"""Is the default encoder the best of its neighbours for a few minutes of one core?

    python benchmarks/default_encoder.py --data DATA --seconds 120 --seeds 2 --out benchmarks/results/default_encoder.json

SimCLR on the emoji and the gray pieces of photographs of benchmarks/quality.py. Every variant is given the steps that fit
into so many seconds of one thread, told by timing a step of each in turn; so a busy machine changes no result. Every row
is one training: variant, set, seed, steps, and kNN accuracy with its interval. A claim is how far a variant is above the
default, in points of kNN accuracy, with an interval over sets and seeds, which both see the same images; it holds where
the variant is not better than the default by more than the interval. Each training is kept in WORK as it ends.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import SAID, costs
from quality import SETS
from record import Claim, conclude, interval, kept, parser
from rich.console import Console

import selfsight
from selfsight.embedding import embed_images
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.growth import side
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.probe import Labelled, Score, Subject
from selfsight.probes import KNN
from selfsight.sources import InMemory
from selfsight.tasks import SimCLR
from selfsight.train import State, train
from selfsight.verbs import divide, encoder_of, fitting_store
from selfsight.view import ViewSource
from selfsight.views import MultiCropViews

PRECISION, SIDE = "bf16-mixed", 64
"""The same for all, so that none is timed in another than it is trained in."""


@dataclass(frozen=True)
class Variant:
    """The default with one thing changed."""

    name: str
    encoder: Small = Small()
    rate: float = Optimization().rate
    growth: tuple[float, ...] = ()
    large: int = 0
    """Of so many large pictures, and small ones; 0: two ordinary views."""
    small: int = 4
    batch: int | None = None
    temperature: float = SimCLR.temperature
    hidden: int = SimCLR.hidden
    projection: int = SimCLR.projection

    @property
    def sides(self) -> list[int]:
        """Of the pictures, one after the other."""
        return [side(self.growth, part / (len(self.growth) + 1), SIDE) for part in range(len(self.growth) + 1)]

    def shown(self, views: selfsight.Views) -> ViewSource:
        return MultiCropViews(large=self.large, small=self.small, views=views, windows=views) if self.large else views

    def recipe(self, source: Any, views: selfsight.Views, steps: int, seed: int) -> selfsight.Recipe:
        return selfsight.Recipe(
            data=source,
            task=SimCLR(
                views=self.shown(views),
                temperature=self.temperature,
                hidden=self.hidden,
                projection=self.projection,
            ),
            batch=self.batch,
            encoder=self.encoder,
            optimizer=replace(Optimization(), rate=self.rate),
            growth=self.growth,
            steps=steps,
            seed=seed,
            precision=PRECISION,
        )


VARIANTS = (
    Variant("default"),
    Variant("width 24", Small(width=24)),
    Variant("width 48", Small(width=48)),
    Variant("width 24, two blocks", Small(width=24, blocks=2)),
    Variant("twice the rate", rate=2 * Optimization().rate),
    Variant("pictures grow from a half", growth=(0.5,)),
    Variant("pictures grow from a half by three quarters", growth=(0.5, 0.75)),
    Variant("one large and four small pictures", large=1),
    Variant("two large and four small pictures", large=2),
    Variant("four views of 128 images", large=4, small=0, batch=128),
    Variant("eight views of 64 images", large=8, small=0, batch=64),
    Variant("half the rate", rate=Optimization().rate / 2),
    Variant("temperature .1", temperature=0.1),
    Variant("temperature .5", temperature=0.5),
    Variant("a projector twice as wide", hidden=2 * SimCLR.hidden, projection=2 * SimCLR.projection),
    Variant("128 images", batch=128),
    Variant("512 images", batch=512),
)
CHOSEN = ("emoji", "patches_gray")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--seconds", type=float, default=120.0, help="of one thread, for the steps of each training")
    given.add_argument("--seeds", type=int, default=2)
    given.add_argument("--work", type=Path, default=Path("runs/default_encoder"), help="where results are kept")
    given.add_argument("--only", help="names of variants beside the default, semicolons between")
    given.add_argument("--sets", default=",".join(CHOSEN), help="comma-separated")
    words = given.parse_args()
    sets = words.sets.split(",")
    unknown = {*sets} - {*SETS} | {*(words.only or "").split(";")} - {variant.name for variant in VARIANTS} - {""}
    if unknown:
        given.error(f"there is no {', '.join(sorted(unknown))}")
    seconds, seeds, names = (30.0, 1, sets[:1]) if words.quick else (words.seconds, words.seeds, sets)
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    every = [variant for variant in VARIANTS if not words.only or variant.name in ("default", *words.only.split(";"))]
    wanted = {f"{variant.name} at {at}": partial(timed, variant, at) for variant in every for at in variant.sides}
    each = costs(words.work / "costs.json", wanted)
    cost = {one.name: statistics.fmean(each[f"{one.name} at {at}"] for at in one.sides) for one in every}
    rows = list(_rows(words.data, names, every, cost, seconds, seeds, words.work))
    conclude("default_encoder", list(claims(rows)), rows, words.out)


def timed(variant: Variant, at: int) -> Iterator[Any]:
    """Steps of 256 images of so many pixels in colour."""
    images = np.random.default_rng(0).integers(0, 255, (512, at, at, 3), dtype=np.uint8)
    recipe = variant.recipe(InMemory(images), selfsight.Views(), SAID, 0)
    state = State(recipe.task, build(recipe, at, 3), recipe.optimizer, engine(PRECISION), steps=SAID, seed=0)
    return train(state, images, np.arange(len(images)), batch=recipe.batch_size)


def _rows(
    data: Path,
    names: Sequence[str],
    variants: Sequence[Variant],
    cost: Mapping[str, float],
    seconds: float,
    seeds: int,
    work: Path,
) -> Iterator[dict[str, Any]]:
    """One row per set, seed and variant; what WORK holds already is not trained again."""
    for name in names:
        for seed in range(seeds):
            for variant in variants:
                steps = round(seconds / cost[variant.name])
                place = work / f"{name} {variant.name} {seed} {seconds:g}.json"
                row = kept(place, {}, _row, data, name, variant, steps, seed)
                print(f"{name:13} {variant.name:22} {seed} {row['steps']:5} steps  kNN {row['knn']:.3f}", flush=True)
                yield row


def _row(data: Path, name: str, variant: Variant, steps: int, seed: int) -> dict[str, Any]:
    views = next(task.views for task in SETS[name].tasks if isinstance(task, SimCLR))
    console = Console(quiet=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = SETS[name].source(data / SETS[name].place, Path(scratch))
        recipe = variant.recipe(source, views, steps, seed)
        run = selfsight.pretrain(recipe=recipe, doctor="off", out=Path(scratch) / "run", console=console)
        score = _judged(run, source, seed)
    row = {"set": name, "variant": variant.name, "seed": seed, "steps": steps}
    return row | {"knn": score.value, "low": score.low, "high": score.high, "n": score.n}


def _judged(run: selfsight.Run, source: Any, seed: int) -> Score:
    """kNN accuracy of the trained encoder alone: baselines would be the same for all."""
    encoder = encoder_of(run.path)
    store = fitting_store(source, encoder, Console(quiet=True))
    train, val, classes, codes = divide(store, seed)
    parts = [(store.images[rows], codes[rows]) for rows in (train, val)]
    asked = [Labelled(embed_images(encoder, images), labels, images) for images, labels in parts]
    scores = KNN().scores(Subject("trained", *asked, classes), seed)
    return next(score for score in scores if score.metric == "accuracy")


def claims(rows: Sequence[dict[str, Any]]) -> list[Claim]:
    """Each variant less the default, paired over sets and seeds."""
    told = {(row["variant"], row["set"], row["seed"]): row["knn"] for row in rows}
    places = sorted({(row["set"], row["seed"]) for row in rows})
    found = []
    for name in dict.fromkeys(row["variant"] for row in rows if row["variant"] != "default"):
        differences = [100 * (told[name, *place] - told["default", *place]) for place in places]
        mean, low, high = interval(differences)
        found.append(
            Claim(
                f"{name}: points of kNN accuracy above the default", mean, low, high, len(differences), 0.0, not low > 0
            )
        )
    return found


if __name__ == "__main__":
    main()
