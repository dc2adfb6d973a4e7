"""Do views that a restorer imagines teach an encoder more than ordinary ones?

    python benchmarks/imagined_views.py --data DATA --seconds 240 --seeds 3 --out benchmarks/results/imagined_views.json

SimCLR on colour sets of benchmarks/quality.py (emoji, and the pieces of photographs in colour), at --size pixels. For every
set and corruption a restorer is trained once on the training images, its answers are made once and kept (`selfsight
imagine`), and every arm is trained twice:

- equal steps: as many as ordinary views get in so many seconds of one thread;
- equal time: as many as fit into these seconds, less those of its restorer and its answers.

Arms: ordinary views; imagined alone, also with answers made anew at every step; an answer and the image; half of the
images; each corruption; of 4 and 8 answers the most different, and all, also with as many images fewer as there are more
pictures of each; a corruption that a policy chooses, by the encoder's progress, against it, or at random within the same
budget; the code of an answer chosen so; a spelling cut short in place of a corruption, answered or as it is; an
adversary's changes. Controls: what the corruption left, an untrained restorer, the nearest other image by hand-made
features in place of an answer, and as many ordinary views as there are answers. Every row is one training: set, arm, budget, seed, steps, kNN and logistic regression with intervals. A claim is how far an arm
is above ordinary views on a set, in points of accuracy, with an interval over seeds, which both see the same images; it
holds where it is better by more than the interval. --quick makes equal steps alone. Each training is kept in
WORK as it ends; a second call goes on where the first stopped. Quality of the answers is told in rows of its own.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import SAID, TIMED, costs
from quality import COLOURFUL, STANDARD
from record import Claim, conclude, interval, kept, parser, require_same
from rich.console import Console
from torch import Tensor

import selfsight
from selfsight.checkpoint import write_tensors
from selfsight.corruption import Corruption
from selfsight.corruptions import OneOf, Truncated, spelled
from selfsight.embedding import embed_images
from selfsight.engine import engine
from selfsight.evaluation import evaluate_subjects
from selfsight.images.handmade import handmade_features
from selfsight.imagined import Answers, Imagined, writing
from selfsight.imagining import imagine
from selfsight.maths.nearest import mean, nearest, unit
from selfsight.plan import build
from selfsight.probe import Labelled, Subject
from selfsight.probes import KNN, Logistic
from selfsight.recipe import to_json
from selfsight.run import Run
from selfsight.sources import Packed, guess
from selfsight.store import Packing, Store, pack
from selfsight.storing import learned_from
from selfsight.task import Task
from selfsight.tasks import Restore, SimCLR, Tokens
from selfsight.train import State, train
from selfsight.verbs import divide
from selfsight.views import CodedViews, CorruptedViews, GeneratedViews, LearnedViews, ViewmakerViews
from selfsight.views.learned import ACTIONS

PRECISION = "bf16-mixed"
LATE, SPENT = 20, ("removed", "evenness")
"""Steps at the end over which is averaged what a policy takes away, and how evenly it chooses."""
QUIET = Console(quiet=True)
BATCH, KEPT, COPIES = 256, 8, 64
"""Images a step; answers kept to each image; neighbours looked at beyond them, as copies of the image are left out."""
VIEWS = {"emoji": COLOURFUL, "photos/patches": STANDARD}
MAIN, MANY = "decolour+downsample", "one of many"
"""MANY: what a policy has to choose from, of each picture one at random."""
CORRUPTIONS = (
    MAIN, "decolour", "downsample", "cutout", "cowmask", "cropout", "patterneddropout", "blur", "jpeg", "noise"
)  # fmt: skip
MADE = 3
"""What WORK holds is of one making: 2 since policies choose among what their restorer saw, 3 since codes are
heard softly and restorers told where pixels are gone."""


@dataclass(frozen=True)
class Arm:
    """One way of making pairs."""

    name: str
    source: str | None = MAIN
    """A corruption or control whose answers are taken; None: ordinary views."""
    settings: tuple[tuple[str, Any], ...] = ()
    batch: int = BATCH
    fresh: bool = False
    """Answers made anew at every step."""
    reward: str | None = None
    """What a policy learns by; None: there is no policy."""
    codes: bool = False
    """Whether it chooses codes of answers, in place of corruptions."""
    adversary: float | None = None
    """How much of its gradient a net that changes pictures gets; None: there is none."""
    alone: bool = False
    """Beside the image what the corruption left, and no answer to it."""

    def task(self, place: str, work: Path) -> SimCLR:
        if self.adversary is not None:
            return SimCLR(views=ViewmakerViews(strength=self.adversary, views=VIEWS[place]))
        if self.source is None:
            return SimCLR(views=VIEWS[place])
        if self.alone:
            corruption = corruption_of(self.source, place, work)
            return SimCLR(views=CorruptedViews(corruption=corruption, beside="image", views=VIEWS[place]))
        folder = folder_of(work, place, self.source)
        restorer = folder / ("restorer" if self.fresh else "answers")
        if self.reward:
            reward: Any = self.reward
            chooses = CodedViews if self.codes else LearnedViews
            return SimCLR(views=chooses(restorer=str(restorer), reward=reward, views=VIEWS[place]))
        return SimCLR(views=GeneratedViews(restorer=str(restorer), views=VIEWS[place], **dict(self.settings)))


def _arm(name: str, source: str = MAIN, batch: int = BATCH, **settings: Any) -> Arm:
    return Arm(name, source, tuple(settings.items()), batch)


ARMS = (
    Arm("ordinary", None),
    _arm("imagined"),
    Arm("imagined anew", fresh=True),
    _arm("answer and image", beside="image"),
    _arm("half imagined", share=0.5),
    *(_arm(f"imagined, {name}", name) for name in CORRUPTIONS[1:]),
    *(_arm(f"answer and image, {name}", name, beside="image") for name in CORRUPTIONS[1:]),
    *(_arm(f"most different of {k}", choose="most_different", answers=k) for k in (4, 8)),
    *(_arm(f"all {k}", choose="all", answers=k) for k in (2, 4, 8)),
    *(_arm(f"all {k}, {BATCH * 2 // k} images", batch=BATCH * 2 // k, choose="all", answers=k) for k in (4, 8)),
    _arm("all 4, weighed", choose="all", answers=4, weigh=1.0),
    *(_arm(f"image and all {k}", beside="image", choose="all", answers=k) for k in (3, 7)),
    Arm("corruption learned by progress", MANY, fresh=True, reward="progress"),
    Arm("corruption learned against", MANY, fresh=True, reward="loss"),
    Arm("corruption at random, same budget", MANY, fresh=True, reward="none"),
    Arm("code learned by progress", fresh=True, reward="progress", codes=True),
    Arm("code at random", fresh=True, reward="none", codes=True),
    _arm("imagined, truncated", "truncated"),
    _arm("answer and image, truncated", "truncated", beside="image"),
    Arm("cut short and image, truncated", "truncated", alone=True),
    *(Arm(f"left and image, {name}", name, alone=True) for name in ("cutout", "patterneddropout")),
    Arm("an adversary's changes", None, adversary=1.0),
    Arm("an adversary's changes, untaught", None, adversary=0.0),
    _arm("untrained restorer", "untrained"),
    _arm("what was left and image", "left", beside="image"),
    _arm("nearest neighbour and image", "neighbour", beside="image"),
    *(_arm(f"{k} ordinary views", "itself", choose="all", answers=k) for k in (4, 8)),
    _arm(f"8 ordinary views, {BATCH // 4} images", "itself", batch=BATCH // 4, choose="all", answers=8),
    _arm("most different of 8 ordinary views", "itself", choose="most_different", answers=8),
)
QUICK = ("ordinary", "imagined", "answer and image", "all 4", "nearest neighbour and image")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(VIEWS), help="comma-separated")
    given.add_argument("--only", help="names of arms, semicolons between; ordinary is always among them")
    given.add_argument("--seconds", type=float, default=240.0, help="of one thread, for the steps of each training")
    given.add_argument("--restorer-seconds", type=float, default=120.0, help="of one thread, for each restorer")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--size", type=int, default=32, help="pixels")
    given.add_argument("--budgets", default="steps,time", help="equal steps, equal time, or both")
    given.add_argument("--work", type=Path, default=Path("runs/imagined_views"), help="where results are kept")
    words = given.parse_args()
    if words.quick:
        words.seconds, words.restorer_seconds, words.seeds, words.sets, words.budgets = 25.0, 25.0, 1, "emoji", "steps"
        words.only = words.only or ";".join(QUICK)
    torch.set_num_threads(1)
    require_same(words.work, {"size": words.size, "restorer_seconds": words.restorer_seconds, "made": MADE})
    wanted = [arm for arm in ARMS if not words.only or arm.name in ("ordinary", *words.only.split(";"))]
    rows = [row for place in words.sets.split(",") for row in _rows(place, wanted, words)]
    told = [row for place in words.sets.split(",") for row in of_answers(words.work, place)]
    conclude("imagined_views", list(claims(rows, wanted)), [*rows, *told], words.out)


def of_answers(work: Path, place: str) -> Iterator[dict[str, Any]]:
    """What a step of each arm cost, and what is known of the answers that trainings were shown: what they cost, and
    `selfsight imagine`'s page in numbers."""
    cost = work / f"{place.replace('/', '_')} costs.json"
    if cost.exists():
        yield {"set": place, "seconds of a step": json.loads(cost.read_text(encoding="utf-8"))}
    for told in sorted((work / place.replace("/", "_")).glob("*/spent.json")):
        quality = told.parent / "answers" / "quality.json"
        numbers = json.loads(quality.read_text(encoding="utf-8"))["numbers"] if quality.exists() else {}
        spent = json.loads(told.read_text(encoding="utf-8"))
        yield {"set": place, "answers": told.parent.name, "seconds": spent, "quality": numbers}


def folder_of(work: Path, place: str, source: str) -> Path:
    return work / place.replace("/", "_") / source


def _rows(place: str, wanted: Sequence[Arm], words: Any) -> Iterator[dict[str, Any]]:
    """One row per budget, seed and arm; what WORK holds already is not trained again."""
    store = pack(
        guess(str(words.data / place)), Packing(size=words.size), out=words.work / f"{place.replace('/', '_')}.store"
    )
    sources = {arm.source for arm in wanted if arm.source} | {MAIN}
    spent = {name: prepared(store, place, name, words) for name in (MAIN, *sorted(sources - {MAIN}))}
    cost = costs(
        words.work / f"{place.replace('/', '_')} costs.json",
        {arm.name: partial(timed, store, place, arm, words.work) for arm in wanted},
    )
    for budget in words.budgets.split(","):
        for seed in range(words.seeds):
            for arm in wanted:
                steps = steps_of(arm, budget, words.seconds, cost, spent)
                row = kept(
                    words.work / f"{place.replace('/', '_')} {arm.name} {budget} {seed} {words.seconds:g}.json",
                    {}, _row, store, place, arm, budget, steps, seed, words.work,
                )  # fmt: skip
                told = f"{place:15} {budget:5} {arm.name:32} {seed} {row['steps']:5} steps"
                print(f"{told}  kNN {row['knn']:.3f}  linear {row['linear']:.3f}", flush=True)
                yield row


def steps_of(
    arm: Arm, budget: str, seconds: float, cost: Mapping[str, float], spent: Mapping[str, Mapping[str, float]]
) -> int:
    """Steps of an arm: those of ordinary views, or what is left of the time once its answers are there."""
    if budget == "steps":
        return max(2, round(seconds / cost["ordinary"]))
    before = 0.0 if arm.source is None else spent[arm.source]["speller" if arm.alone else "restorer"]
    if arm.source is not None and not arm.fresh and not arm.alone:
        before += spent[arm.source]["answers"] * needed(arm) / KEPT
    return max(2, round((seconds - before) / cost[arm.name]))


def needed(arm: Arm) -> int:
    """Answers to each image that an arm would have had to make: two of all that are kept are no better than two."""
    return int(dict(arm.settings).get("answers", 1 if "beside" in dict(arm.settings) else 2))


def prepared(store: Store, place: str, source: str, words: Any) -> dict[str, float]:
    """Makes a restorer and its answers, or a control in their place -> thread-seconds of each."""
    folder = folder_of(words.work, place, source)
    told = folder / "spent.json"
    if told.exists():
        return dict(json.loads(told.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    began = spelled_by = between = time.thread_time()
    if source == "neighbour":
        neighbours(store, folder / "answers")
    elif source == "itself":
        _written(store, lambda rows: np.repeat(store.images[rows][:, None], KEPT, 1), folder / "answers")
    elif source == "left":
        left_alone(Imagined.open(folder_of(words.work, place, MAIN) / "answers"), folder / "answers")
    else:
        run = folder / "restorer"
        if source == "untrained":
            untrained_restorer(store, run)
        elif not (run / "finished.json").exists():
            if source == "truncated":
                teach(store, Tokens(), words.restorer_seconds, folder / "speller")
                spelled_by = time.thread_time()
            teach(store, Restore(corruption=corruption_of(source, place, words.work)), words.restorer_seconds, run)
        between = time.thread_time()
        imagine(run, str(store.path), answers=KEPT, out=folder / "answers", console=QUIET)
    now = time.thread_time()
    spent = {"speller": spelled_by - began, "restorer": between - began, "answers": now - between}
    told.write_text(json.dumps(spent), encoding="utf-8")
    return spent


def corruption_of(source: str, place: str, work: Path) -> Corruption:
    """By its short name; of truncated spellings, the speller that was trained for them."""
    if source == "truncated":
        return Truncated(speller=str(folder_of(work, place, source) / "speller"))
    return OneOf(corruptions=ACTIONS) if source == MANY else spelled(source)


def of(store: Store, task: Task, steps: int) -> selfsight.Recipe:
    return selfsight.Recipe(data=Packed(str(store.path)), task=task, steps=steps, batch=64, precision=PRECISION)


def teach(store: Store, task: Task, seconds: float, out: Path) -> None:
    """A restorer or speller: as many steps as fit, at the pace of the first few."""
    recipe = of(store, task, SAID)
    state = State(recipe.task, _model(recipe, store), recipe.optimizer, engine(PRECISION), steps=SAID, seed=0)
    least = np.inf
    steps = train(state, store.images, learned_from(store), batch=64)
    for _ in range(TIMED):
        began = time.thread_time()
        next(steps)
        least = min(least, time.thread_time() - began)
    steps.close()
    selfsight.pretrain(recipe=of(store, task, max(2, round(seconds / least))), out=out, doctor="off", console=QUIET)


def untrained_restorer(store: Store, out: Path) -> None:
    """A run as it is before its first step."""
    recipe = of(store, Restore(corruption=spelled(MAIN)), 1)
    run = Run.create(out)
    run.write("recipe", to_json(recipe))
    run.write("plan", {"size": store.images.shape[1], "channels": store.images.shape[3]})
    tensors = {f"model.{name}": value for name, value in _model(recipe, store).state_dict().items()}
    write_tensors(out / "checkpoints" / "step-000000000.safetensors", tensors, {"step": 0, "steps": 1, "seed": 0})


def _model(recipe: selfsight.Recipe, store: Store) -> Any:
    return build(recipe, store.images.shape[1], store.images.shape[3])


def neighbours(store: Store, out: Path) -> None:
    """In place of answers, the nearest other training images by hand-made features."""
    features = handmade_features(store.images)
    train_rows = learned_from(store)
    centre = mean(features[train_rows])
    keys = unit(features[train_rows], centre)
    hashes = np.array(store.hashes)
    _, near = nearest(unit(features, centre), keys, KEPT + COPIES)
    chosen = np.empty((len(store), KEPT), np.int64)
    for i, places in enumerate(train_rows[near.numpy()]):
        chosen[i] = np.resize([row for row in places if row != i and hashes[row] != hashes[i]], KEPT)
    _written(store, lambda rows: store.images[chosen[rows]], out)


def left_alone(kept: Imagined, out: Path) -> None:
    """In place of answers, what was left."""
    store_of = Store.open(Path(out).parents[1].with_suffix(".store"))
    _written(store_of, lambda rows: np.repeat(kept.left[rows][:, None], KEPT, 1), out)


def _written(store: Store, pictures: Any, out: Path) -> None:
    with writing(out, (len(store), KEPT, *store.images.shape[1:])) as folder:
        for start in range(0, len(store), 256):
            rows = np.arange(start, min(start + 256, len(store)))
            images = _planar(np.array(store.images[rows]))
            answers = torch.from_numpy(np.ascontiguousarray(pictures(rows))).permute(0, 1, 4, 2, 3)
            nothing = torch.zeros(len(rows), KEPT)
            folder.put(slice(start, start + len(rows)), images, Answers(answers, images, nothing, nothing[:, 0]))
        folder.close({"run": "none", "corruption": "none", "store": store.key, "seed": 0, "images_per_second": 0.0})


def _planar(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def timed(store: Store, place: str, arm: Arm, work: Path) -> Iterator[Any]:
    recipe = recipe_of(store, place, arm, SAID, 0, work)
    state = State(recipe.task, _model(recipe, store), recipe.optimizer, engine(PRECISION), steps=SAID, seed=0)
    return train(state, store.images, learned_from(store), batch=arm.batch)


def recipe_of(store: Store, place: str, arm: Arm, steps: int, seed: int, work: Path) -> selfsight.Recipe:
    given = {"steps": steps, "seed": seed, "batch": arm.batch, "precision": PRECISION}
    return selfsight.Recipe(data=Packed(str(store.path)), task=arm.task(place, work), **given)


def _row(store: Store, place: str, arm: Arm, budget: str, steps: int, seed: int, work: Path) -> dict[str, Any]:
    recipe = recipe_of(store, place, arm, steps, seed, work)
    state = State(recipe.task, _model(recipe, store), recipe.optimizer, engine(PRECISION), steps=steps, seed=seed)
    loss, late = float("nan"), deque[Mapping[str, float]](maxlen=LATE)
    for step in train(state, store.images, learned_from(store), batch=arm.batch):
        loss = step.loss
        late.append(step.measures)
    scores = judged(store, state.model.encoder.eval(), seed)
    row: dict[str, Any] = {"set": place, "arm": arm.name, "budget": budget, "seed": seed}
    row |= {"steps": steps, "batch": arm.batch, "loss": loss}
    for name in SPENT:  # by a policy
        if all(name in told for told in late):
            row[name] = statistics.fmean(told[name] for told in late)
    for name, score in zip(("knn", "linear"), scores, strict=True):
        row |= {name: score.value, f"{name} low": score.low, f"{name} high": score.high, "n": score.n}
    return row


def judged(store: Store, encoder: Any, seed: int) -> list[Any]:
    """Accuracy by nearest neighbours and by logistic regression."""
    known, asked, classes, codes = divide(store, seed)
    parts = [
        Labelled(embed_images(encoder, store.images, rows), codes[rows], store.images[rows]) for rows in (known, asked)
    ]
    subject = Subject("trained", parts[0], parts[1], classes, lambda: encoder)
    evaluation = evaluate_subjects([subject], [KNN(), Logistic()], seed)
    return [one for one in evaluation.scores if one.metric == "accuracy"]


def claims(rows: Sequence[dict[str, Any]], wanted: Sequence[Arm]) -> Iterator[Claim]:
    """Each arm less ordinary views on each set, paired over seeds."""
    told = {(row["arm"], row["set"], row["budget"], row["seed"]): row for row in rows}
    for place, budget in sorted({(row["set"], row["budget"]) for row in rows}):
        seeds = sorted({row["seed"] for row in rows if (row["set"], row["budget"]) == (place, budget)})
        for arm in wanted[1:]:
            for probe in ("knn", "linear"):
                pairs = [(told[arm.name, place, budget, s], told["ordinary", place, budget, s]) for s in seeds]
                middle, low, high = interval([100 * (one[probe] - other[probe]) for one, other in pairs])
                name = f"{place}, {arm.name}, equal {budget}: points of {probe} accuracy above ordinary views"
                yield Claim(name, middle, low, high, len(seeds), 0.0, low > 0)


if __name__ == "__main__":
    main()
