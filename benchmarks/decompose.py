"""Do masks take scenes apart, and which do not?

    python benchmarks/decompose.py --seconds 240 --seeds 3 --out benchmarks/results/decompose.json --work runs/decompose

Scenes of 2 to 4 shapes of dSprites (selfsight.sources.Scenes; --sprites takes the published arrays), each in a colour
of its own, flat or under light that falls off, at 64 pixels. Every mask model gets the steps that fit into so many
seconds of one thread, told by timing a step of each in turn, so that a busy machine changes no result. A row is one
training: model, set, seed, and after each part of its steps (0: untrained) the foreground ARI of unseen scenes with
its interval over scenes, the shares of masks that are full, empty, constant or repeated, and the share of scenes that
are not taken apart at all. Beside them, on the same scenes: k-means on colours (as many clusters as slots, and as
many as there are) and connected components of equal colours. Each training is kept in WORK as it ends.

Claims: the sound forms reach an ARI of .90; they leave no scene whole in any seed; how far they are above k-means
with as many clusters; how far training takes them above themselves untrained. Intervals over seeds (Student's t),
seeds paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import SAID, costs
from record import Claim, conclude, interval, kept, parser

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.images.views import Views
from selfsight.maths.interval import mean_interval
from selfsight.maths.segments import collapses, foreground_ari
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.recipe import Recipe
from selfsight.seeds import generator
from selfsight.sources import InMemory, Scenes
from selfsight.task import Model, Task
from selfsight.tasks import Decompose, Saliency
from selfsight.train import State, train

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()
"""Mirror images alone: a crop would cut objects off and blur their edges."""
JUDGED = replace(STILL, flip=0.0)
SETS = {"flat": 0.0, "shaded": 0.6}
"""How much light falls off, by set."""
TEST, BATCH, SIDE = 320, 16, 64
PARTS = (0.0, 0.05, 0.15, 0.4, 1.0)
"""Shares of a training after which it is judged."""
OPTIMIZATION = Optimization(rate=2e-3, clip=1.0)


@dataclass(frozen=True)
class Way:
    """One way to make masks."""

    name: str
    task: Task
    sound: bool = True
    """Whether it is held to the bars."""


WAYS = (
    Way("slots", Decompose(views=STILL)),
    Way("sticks", Decompose(views=STILL, shares="sticks")),
    Way("slots, mixture", Decompose(views=STILL, error="mixture"), sound=False),
    Way("slots, encoder alone", Decompose(views=STILL, sees_picture=False), sound=False),
    Way("sticks, encoder alone", Decompose(views=STILL, shares="sticks", sees_picture=False), sound=False),
    Way("slots, decoded", Decompose(views=STILL, shares="decoded", paint=16, error="composed"), sound=False),
)
JOURNALS = (
    Way("journal: masks of a net", Saliency(views=STILL), sound=False),
    Way("journal: against nothing too", Saliency(views=STILL, filled=1.0, binary=0.1), sound=False),
    Way("journal: masks of the decoder", Saliency(views=STILL, model="inherent", shown="residual"), sound=False),
    Way("journal: constructor", Saliency(views=STILL, model="constructor"), sound=False),
)
"""The mask models of the journal, of whose losses the first, third and fourth want full and empty masks."""
QUICK = ("slots", "sticks", "journal: masks of a net")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--seconds", type=float, default=240.0, help="of one thread, for the steps of each training")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--scenes", type=int, default=4000, help="to learn from")
    given.add_argument("--sprites", help="the published dSprites, or any .npz as selfsight.sources.Scenes takes it")
    given.add_argument("--only", help="models by name, semicolons between")
    given.add_argument("--sets", default="flat,shaded", help="comma-separated")
    given.add_argument("--work", type=Path, default=Path("runs/decompose"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.seconds, words.seeds, words.scenes, words.sets = 30.0, 2, 500, "flat"
    every = [*WAYS, *JOURNALS]
    names = words.only.split(";") if words.only else QUICK if words.quick else [model.name for model in every]
    models = [model for model in every if model.name in names]
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    cost = costs(words.work / "costs.json", {model.name: partial(timed, model) for model in models})
    rows = list(_rows(words, models, cost))
    conclude("decompose", list(claims(rows)), rows, words.out)


def timed(model: Way) -> Iterator[Any]:
    images = np.random.default_rng(0).integers(0, 255, (64, SIDE, SIDE, 3), dtype=np.uint8)
    return train(_state(model.task, images, SAID, 0), images, np.arange(64), batch=BATCH)


def _state(task: Task, images: np.ndarray, steps: int, seed: int) -> State:
    recipe = Recipe(data=InMemory(images), task=task, encoder=Small(width=16), optimizer=OPTIMIZATION, seed=seed)
    model = build(recipe, images.shape[1], images.shape[3])
    return State(task, model, OPTIMIZATION, engine("32-true"), steps=steps, seed=seed)


def _rows(words: Any, models: Sequence[Way], cost: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """One row per set, model and seed, and one per set and rival; what WORK holds already is not made again."""
    for place in words.sets.split(","):
        source = Scenes(count=words.scenes + TEST, shading=SETS[place], side=SIDE, sprites=words.sprites)
        made = [source.scene(number) for number in range(source.count)]
        images, owners = np.stack([one.image for one in made]), np.stack([one.owner for one in made])
        for name, clusters in rivals(images[-TEST:], owners[-TEST:]):
            row = {"set": place, "model": name, **_score(foreground_ari(clusters, owners[-TEST:]))}
            print(f"{place:7} {name:36} {row['ari']:.3f}", flush=True)
            yield row
        for model in models:
            for seed in range(words.seeds):
                steps = max(len(PARTS), round(words.seconds / cost[model.name]))
                told = {"set": place, "model": model.name, "sound": model.sound, "seed": seed}
                row = kept(
                    words.work / f"{place} {model.name} {seed} {words.seconds:g} {words.scenes}.json",
                    told, _trained, model.task, images, owners, steps, seed, cost[model.name],
                )  # fmt: skip
                curve = "  ".join(f"{at['minutes']:.2f} min {at['ari']:.3f}" for at in row["curve"])
                print(f"{place:7} {model.name:22} {seed} {row['steps']:5} steps  {curve}", flush=True)
                yield row


def _trained(task: Task, images: np.ndarray, owners: np.ndarray, steps: int, seed: int, cost: float) -> dict[str, Any]:
    state, curve = _state(task, images, steps, seed), list[dict[str, Any]]()
    marks = {round(part * steps) for part in PARTS}
    curve.append({"step": 0, "minutes": 0.0, **judged(task, state.model, images[-TEST:], owners[-TEST:])})
    for step in train(state, images, np.arange(len(images) - TEST), batch=BATCH):
        if step.number in marks:
            told = judged(task, state.model, images[-TEST:], owners[-TEST:])
            curve.append({"step": step.number, "minutes": step.number * cost / 60, "loss": step.loss, **told})
    return {"steps": steps, "curve": curve}


@torch.no_grad()
def judged(task: Any, model: Model, images: np.ndarray, owners: np.ndarray) -> dict[str, Any]:
    """Foreground ARI and collapses of masks of scenes that were not learned from, in batches of 40."""
    model.eval()
    quiet, found, masks = replace(task, views=JUDGED), list[np.ndarray](), list[np.ndarray]()
    for start in range(0, len(images), 40):
        pixels = torch.from_numpy(images[start : start + 40]).permute(0, 3, 1, 2)
        batch = Batch(pixels, torch.arange(start, start + len(pixels)))
        example = quiet.prepare(batch, Now(0, 1, generator("judged", start)))
        masks.append(quiet.masks(quiet.predict(model, example), example).numpy())
        found.append(foreground_ari(masks[-1].argmax(1), owners[start : start + 40]))
    model.train()
    fallen = collapses(np.concatenate(masks))
    return {**_score(np.concatenate(found)), **fallen.shares(), "whole": float(fallen.images().mean())}


def _score(each: np.ndarray) -> dict[str, Any]:
    low, high = mean_interval(each, 0)
    return {"ari": float(each.mean()), "low": low, "high": high, "n": len(each)}


def rivals(images: np.ndarray, owners: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What needs no training: (name, (N, H, W) int). The second is told how many things there are."""
    for name, clusters in (("k-means, 6 colours", None), ("k-means, colours as many as things", owners)):
        yield (
            name,
            np.stack(
                [
                    _kmeans(image, 6 if clusters is None else int(o.max()) + 1)
                    for image, o in zip(images, owners, strict=True)
                ]
            ),
        )
    yield "connected components", np.stack([_components(image) for image in images])


def _kmeans(image: np.ndarray, clusters: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    colours = image.reshape(-1, 3) / 255
    clusters = min(clusters, len(np.unique(colours, axis=0)))
    return KMeans(clusters, n_init=3, random_state=0).fit_predict(colours).reshape(image.shape[:2])


def _components(image: np.ndarray, step: int = 12) -> np.ndarray:
    """Pixels joined to neighbours whose colour differs by less than `step` of 255 in every channel.

    12 is more than light that falls off by 60 % changes from pixel to pixel (255 * .6 / 63 = 2.4), and a seventh of the
    distance that colours of one scene keep (.3 of RGB, 44 in each channel where all three differ alike).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    place, pixels = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]), image.astype(int)
    pairs = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        joined = np.abs(pixels[one] - pixels[other]).max(2) < step
        pairs.append(np.stack([place[one][joined], place[other][joined]]))
    a, b = np.concatenate(pairs, 1)
    graph = coo_matrix((np.ones(len(a)), (a, b)), (place.size, place.size))
    return connected_components(graph, directed=False)[1].reshape(image.shape[:2])


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """See the top of this file."""
    trained = [row for row in rows if "curve" in row]
    for place in dict.fromkeys(row["set"] for row in trained):
        rival = next(row["ari"] for row in rows if (row["set"], row["model"]) == (place, "k-means, 6 colours"))
        for name in dict.fromkeys(row["model"] for row in trained if row["set"] == place):
            runs = [row for row in trained if (row["set"], row["model"]) == (place, name)]
            last = [row["curve"][-1] for row in runs]
            aris = [one["ari"] for one in last]
            gains = [row["curve"][-1]["ari"] - row["curve"][0]["ari"] for row in runs]
            if runs[0]["sound"]:
                yield _claim(f"{place}, {name}: foreground ARI", aris, 0.90)
                whole = [one["whole"] for one in last]
                worst, n = max(whole), len(whole)
                yield Claim(
                    f"{place}, {name}: share of scenes left whole, worst seed",
                    worst,
                    min(whole),
                    worst,
                    n,
                    0.0,
                    worst == 0,
                )
            yield _claim(f"{place}, {name}: ARI above k-means with 6 colours", [ari - rival for ari in aris], 0.0)
            yield _claim(f"{place}, {name}: ARI above itself untrained", gains, 0.0)


def _claim(name: str, values: Sequence[float], bar: float) -> Claim:
    mean, low, high = interval(values)
    return Claim(name, mean, low, high, len(values), bar, low >= bar)


if __name__ == "__main__":
    main()
