"""Are a restorer's answers several, sharp and near? Beside a regression and a variational autoencoder of its size and time.

    python benchmarks/restore.py --data DATA --seconds 240 --seeds 3 --out benchmarks/results/restore.json

On pieces of photographs and on emoji at --size pixels, colour, detail, both, or some squares are taken away. Each arm
is a CAM-Net of the default size, trained for as many steps as fit into so many seconds of one thread, told by timing
some of each in turn: conditional IMLE with m codes (1, 5, 20, 50; and the default 8; this also with a radius, and with
codes that are remembered; also 8 and 20 held to the features of a second encoder, whose training is not charged), the
regression twin without codes, where colour was taken both also predicting a and b of Lab alone, or with detail all of
Lab, and a conditional variational autoencoder (Sohn, Lee, Yan 2015) whose decoder it is. On validation images: the
distance of the best of 1, 5, 20 and 50 answers, in units of that of what was left; the mean distance between two
answers in the same unit; sharpness; and KID (Binkowski et al. 2018) between answers and other images, in the features
of one encoder that is trained once by SimCLR. Every row is one training; a claim is of conditional IMLE with 8 codes
against its twin on the same images, its interval by bootstrap over images and seeds' means. Each training is kept in
WORK as it ends; a second call goes on where the first stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from costs import SAID, costs
from record import Claim, conclude, kept, parser, require_same
from rich.console import Console
from torch import Tensor, nn

import selfsight
from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.codes import Refresh
from selfsight.corruption import Corruption, kinds
from selfsight.corruptions import Downsample, spelled
from selfsight.distances import Features, Pixels
from selfsight.embedding import embed_images
from selfsight.encoder import Encoder
from selfsight.engine import engine
from selfsight.maths.distances import sharpness, spread
from selfsight.maths.interval import mean_interval
from selfsight.plan import build
from selfsight.restorer import Stack
from selfsight.restorers import CamNet
from selfsight.seeds import generator
from selfsight.selection import Selection
from selfsight.sources import Packed, guess
from selfsight.store import Packing, Store, pack
from selfsight.storing import learned_from
from selfsight.task import Constant, Model, Task, flat
from selfsight.tasks import Restore, SimCLR
from selfsight.train import State, train
from selfsight.verbs import encoder_of

PRECISION, BATCH, JUDGE = "bf16-mixed", 32, 256
"""JUDGE: images a step of encoders that tell answers apart."""
SETS = ("photos/patches", "emoji")
TAKEN = ("decolour", "downsample", "decolour+downsample", "cutout")
MADE = 4
"""What WORK holds is of one making: 2 since codes are heard softly, 3 since restorers are told where pixels are gone, 4
since what a level changed is smoothed for the next, and 32 images are a step."""
TRIES = (1, 5, 20, 50)
ASKED = 256
"""Validation images."""
SHARE = 0.25
"""How much lower KID should be than the regression's."""
APART = 0.1
"""How far two answers should be apart at least, in units of the distance of what was left."""
AB = ", a and b"
"""Ends the names of arms that predict a and b of Lab alone, where only colour was taken."""
LAB = ", Lab"
"""Ends the names of arms that predict all of Lab, where colour and detail were taken."""
RADIUS = 0.002
"""Of RS-IMLE: photographs without colour are .008 from the truth, emoji .04."""
SEEN = ", features"
"""Ends the names of arms that are held to features, pixels and gradients; the others to pixels and gradients alone."""
QUIET = Console(quiet=True)


@dataclass(frozen=True, kw_only=True)
class Variational(Task):
    """The same stack as a decoder: codes from a posterior that sees the truth while it trains, from the prior after."""

    corruption: Corruption
    restorer: CamNet = CamNet()
    distance: Pixels = Pixels()
    weight: float = 1e-3
    """Of the divergence, in units of the distance's unit, a number of a code."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "restorer", self.restorer.suited(self.corruption.hides()))

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        stack = self.restorer.build(encoder.channels, encoder.size, encoder.dim, int(torch.randint(2**31, (1,))))
        return {"restorer": stack, "posterior": Posterior(stack, encoder.channels, self.restorer)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        truth = Restore(corruption=self.corruption).views(batch.images, now.generator)
        done = self.corruption(truth, now.generator)
        stack = self.restorer.build(truth.shape[1], truth.shape[-1])
        noise = [torch.randn(len(truth), length, generator=now.generator) for length in stack.lengths]
        extras = {"truth": truth, "where": done.where, "noise": torch.cat(noise, 1)}
        return Example(done.images.unsqueeze(1), batch.index, truth, extras)

    def predict(self, model: Model, example: Example) -> Prediction:
        stack, left = cast(Stack, model.parts["restorer"]), flat(example)
        middle, spread_ = model.parts["posterior"](torch.cat([left, example.extras["truth"]], 1))
        codes = (middle + example.extras["noise"] * (spread_ / 2).exp()).split(list(stack.lengths), 1)
        answers = stack(stack.with_holes(left, example.extras["where"]), codes, model.encoder(left))
        return {**{f"answer {l}": answer for l, answer in enumerate(answers)}, "middle": middle, "spread": spread_}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        truth, judge, far, unit = example.extras["truth"], self.distance.build(3), 0.0, 0.0
        for l in range(sum(name.startswith("answer") for name in prediction)):
            answer = prediction[f"answer {l}"].float()
            wanted, shown = (F.adaptive_avg_pool2d(x, answer.shape[-1]) for x in (truth, flat(example)))
            far = far + judge(answer[:, None], wanted).mean()
            unit = unit + judge((shown + (wanted - shown).mean(0))[:, None], wanted).mean()
        middle, spread_ = prediction["middle"].float(), prediction["spread"].float()
        divergence = (middle.square() + spread_.exp() - 1 - spread_).mean() / 2
        loss = cast(Tensor, far) / cast(Tensor, unit).clamp(min=1e-6) + self.weight * middle.shape[1] * divergence
        return Outcome(loss, {"divergence": divergence.detach()})

    def constant(self, n: int) -> Constant:
        return Constant(1.0, "the change that is usual in the batch")

    def question(self) -> str:
        return "What could this picture have been?"


class Posterior(nn.Module):
    """(N, 2 C, S, S) -> mean and log-variance of all levels' codes, (N, F) each."""

    def __init__(self, stack: Stack, channels: int, given: CamNet) -> None:
        super().__init__()
        self.given = given
        self.inner = [stack.sides[0], *stack.sides[:-1]]
        self.looks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()
            )
            for _ in self.inner
        )
        self.whole = nn.ModuleList(nn.Linear(32, 2 * given.code) for _ in self.inner)
        self.grain = nn.ModuleList(nn.Conv2d(32, 2 * given.grains, 1) for _ in self.inner)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        middles, spreads = [], []
        for side, look, whole, grain in zip(self.inner, self.looks, self.whole, self.grain, strict=True):
            x = look(F.adaptive_avg_pool2d(seen, side))
            numbers, maps = whole(x.mean((2, 3))), grain(x).permute(0, 2, 3, 1)
            middles += [numbers[:, : self.given.code], maps[..., : self.given.grains].flatten(1)]
            spreads += [numbers[:, self.given.code :], maps[..., self.given.grains :].flatten(1)]
        return torch.cat(middles, 1), torch.cat(spreads, 1).clamp(-8, 8)


def taking(name: str) -> Corruption:
    """By its short name; "downsample x4" is always four times smaller, where "downsample" is 2, 4 or 8."""
    return Downsample(factors=(4,)) if name == "downsample x4" else spelled(name)


def arms(corruption: Corruption, through: str = "") -> dict[str, Task]:
    """By name. through: the run whose encoder's features some are held to; without one those are left out."""
    seen: dict[str, Task] = {}
    if through:
        seen = {
            f"imle, {m} codes{SEEN}": Restore(
                corruption=corruption, distance=Features(through=through), selection=Selection(codes=(m,))
            )
            for m in (8, 20)
        }
        seen[f"regression{SEEN}"] = Restore(
            corruption=corruption,
            distance=Features(through=through),
            restorer=CamNet(ways=False),
            selection=Selection(codes=(1,)),
        )
    imle = {f"imle, {m} codes": Restore(corruption=corruption, selection=Selection(codes=(m,))) for m in (8, *TRIES)}
    seen[f"imle, 8 codes, radius {RADIUS:g}"] = Restore(corruption=corruption, selection=Selection(radius=RADIUS))
    twin = Restore(corruption=corruption, restorer=CamNet(ways=False), selection=Selection(codes=(1,)))
    seen["imle, 8 codes, remembered"] = Restore(corruption=corruption, remember=Refresh())
    if kinds(corruption) == {"Decolour", "Downsample"}:
        one, other = (CamNet(predicts="lab", ways=ways) for ways in (True, False))
        seen[f"imle, 8 codes{LAB}"] = Restore(corruption=corruption, restorer=one)
        seen[f"regression{LAB}"] = replace(twin, restorer=other)
    if kinds(corruption) == {"Decolour"}:
        one, other = (CamNet(predicts="colour", ways=ways) for ways in (True, False))
        seen[f"imle, 8 codes{AB}"] = Restore(corruption=corruption, restorer=one)
        seen[f"regression{AB}"] = replace(twin, restorer=other)
    return {**imle, "regression": twin, "variational": Variational(corruption=corruption), **seen}


QUICK = ("imle, 8 codes", "regression", "variational")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    given.add_argument("--taken", default=",".join(TAKEN), help="comma-separated corruptions; also downsample x4")
    given.add_argument("--only", help="names of arms, parted by semicolons")
    given.add_argument("--seconds", type=float, default=240.0, help="of one thread, each")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--size", type=int, default=32, help="pixels")
    given.add_argument("--work", type=Path, default=Path("runs/restore"), help="where results are kept as they come")
    words = given.parse_args()
    if words.quick:
        words.seconds, words.seeds, words.sets, words.taken = 40.0, 1, SETS[0], TAKEN[2]
        words.only = words.only or ";".join(QUICK)
    torch.set_num_threads(1)
    require_same(words.work, {"size": words.size, "made": MADE})
    rows = [row for place in words.sets.split(",") for row in _rows(place, words)]
    conclude("restore", list(claims(rows)), [{k: v for k, v in row.items() if k != "each"} for row in rows], words.out)


def _rows(place: str, words: Any) -> Iterator[dict[str, Any]]:
    """One row per corruption, seed and arm; what WORK holds already is not trained again."""
    name = place.replace("/", "_")
    store = pack(guess(str(words.data / place)), Packing(size=words.size), out=words.work / f"{name}.store")
    judge = fixed_encoder(store, words.work / f"{name} encoder {words.seconds:g}", words.seconds)
    through = words.work / f"{name} eyes {words.seconds:g}"
    if not words.only or SEEN in words.only:
        fixed_encoder(store, through, words.seconds, seed=1)  # not the one that judges
    for taken in words.taken.split(","):
        wanted = arms(taking(taken), str(through) if through.exists() else "")
        wanted = {k: v for k, v in wanted.items() if not words.only or k in words.only.split(";")}
        cost = costs(
            words.work / f"{name} {taken} costs.json", {k: partial(timed, store, task) for k, task in wanted.items()}
        )
        for seed in range(words.seeds):
            for arm, task in wanted.items():
                steps = max(2, round(words.seconds / cost[arm]))
                at = words.work / f"{name} {taken} {arm} {seed} {words.seconds:g}.json"
                of = {"set": place, "taken": taken, "arm": arm, "seed": seed, "seconds": words.seconds}
                row = kept(at, of, _row, store, task, steps, seed, judge)
                told = {k: round(v, 4) for k, v in row.items() if isinstance(v, float)}
                print(f"{place:15} {taken:20} {arm:16} {seed} {told}", flush=True)
                yield row


def fixed_encoder(store: Store, out: Path, seconds: float, seed: int = 0) -> Encoder:
    """One whose features tell distributions, or answers, apart."""
    if not (out / "finished.json").exists():
        least = costs(out.with_suffix(".costs.json"), {"SimCLR": partial(timed, store, SimCLR(), JUDGE)})["SimCLR"]
        recipe = _recipe(store, SimCLR(), max(2, round(seconds / least)), seed, JUDGE)
        selfsight.pretrain(recipe=recipe, out=out, doctor="off", console=QUIET)
    return encoder_of(out)


def timed(store: Store, task: Task, batch: int = BATCH) -> Iterator[Any]:
    """Steps of a training, to be timed."""
    recipe = _recipe(store, task, SAID, 0, batch)
    model = build(recipe, store.images.shape[1], store.images.shape[3])
    state = State(recipe.task, model, recipe.optimizer, engine(PRECISION), steps=SAID, seed=0)
    return train(state, store.images, learned_from(store), batch=recipe.batch_size)


def _recipe(store: Store, task: Task, steps: int, seed: int, batch: int = BATCH) -> selfsight.Recipe:
    return selfsight.Recipe(
        data=Packed(str(store.path)), task=task, steps=steps, batch=batch, seed=seed, precision=PRECISION
    )


def _row(store: Store, task: Task, steps: int, seed: int, judge: Encoder) -> dict[str, Any]:
    recipe = _recipe(store, task, steps, seed)
    model = build(recipe, store.images.shape[1], store.images.shape[3])
    state = State(task, model, recipe.optimizer, engine(PRECISION), steps=steps, seed=seed)
    for _ in train(state, store.images, learned_from(store), batch=BATCH):
        pass
    return {"steps": steps, **measured(store, task, state.model.eval(), seed, judge)}


@torch.no_grad()
def measured(store: Store, task: Any, model: Model, seed: int, judge: Encoder) -> dict[str, Any]:
    """What the answers to validation images are worth; "each" are the distances image by image."""
    val = np.flatnonzero(store.splits == "val") if (store.splits == "val").any() else learned_from(store)
    rows = np.sort(np.random.default_rng(0).permutation(val)[:ASKED])
    truth = torch.from_numpy(store.images[rows]).permute(0, 3, 1, 2).float() / 255
    done = task.corruption(truth, generator(seed, "taken"))
    stack, gauge = cast(Stack, model.parts["restorer"]), Pixels().build(truth.shape[1])
    left, shown = done.images, stack.with_holes(done.images, done.where)
    ways = max(TRIES) if any(stack.lengths) else 1
    seeds, z = stack.seeds(len(left), ways, generator(seed, "ways")), model.encoder(left)
    far, kept = [], []
    for way in range(ways):
        answer = stack(shown, stack.codes(seeds[:, :, way]), z)[-1].float()
        far.append(gauge(answer[:, None], truth)[:, 0])
        kept += [answer] if way < 6 else []
    unit, distance, answers = gauge(left[:, None], truth)[:, 0].mean(), torch.stack(far, 1), torch.stack(kept, 1)
    told = {f"best of {m}": float(distance[:, :m].amin(1).mean() / unit) for m in TRIES}
    told["apart"] = float(spread(answers, gauge).mean() / unit) if ways > 1 else 0.0
    told |= {"sharpness": float(sharpness(answers, truth)), "kid": _kid(store, val, rows, answers[:, 0], judge)}
    each = {f"best of {m}": (distance[:, :m].amin(1) / unit).tolist() for m in TRIES}
    return {**told, "each": each}


def _kid(store: Store, val: np.ndarray, rows: np.ndarray, answers: Tensor, judge: Encoder) -> float:
    """KID of one answer to each of some images and the other images of validation."""
    others = np.setdiff1d(val, rows)
    others = others if len(others) >= ASKED // 2 else learned_from(store)
    real = embed_images(judge, store.images, others[:2000])
    pixels = (answers.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return kid(embed_images(judge, pixels), real)


def kid(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x y / D + 1)^3; features scaled by the other's."""
    scale = other.std(0).mean() + 1e-9
    x, y = (rows.astype(np.float64) / scale for rows in (one, other))
    inside = [((rows @ rows.T / rows.shape[1] + 1) ** 3) for rows in (x, y)]
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in inside]
    return float(sum(means) - 2 * ((x @ y.T / x.shape[1] + 1) ** 3).mean())


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """IMLE with 8 codes against its twin, on the same images; and beside the variational autoencoder."""
    told = {(row["set"], row["taken"], row["seed"], row["arm"]): row for row in rows}
    for place, taken in sorted({(row["set"], row["taken"]) for row in rows}):
        seeds = sorted({row["seed"] for row in rows if (row["set"], row["taken"]) == (place, taken)})

        def of(arm: str, place: str = place, taken: str = taken, seeds: list[int] = seeds) -> list[dict[str, Any]]:
            return [told[place, taken, seed, arm] for seed in seeds if (place, taken, seed, arm) in told]

        for rival in ("regression", "variational"):
            own, other = of("imle, 8 codes"), of(rival)
            if not own or len(own) != len(other):
                continue
            m = 20 if rival == "regression" else 5
            against = "best of 1" if rival == "regression" else f"best of {m}"
            pairs = zip(own, other, strict=True)
            gain = np.mean([np.subtract(b["each"][against], a["each"][f"best of {m}"]) for a, b in pairs], 0)
            low, high = mean_interval(gain, 0)
            name = f"{place}, {taken}: {against} of the {rival} less the best of {m}, of what was left"
            yield Claim(name, float(gain.mean()), low, high, len(gain), 0.0, low > 0)
            ratio = [a["kid"] / max(b["kid"], 1e-9) for a, b in zip(own, other, strict=True)]
            name = f"{place}, {taken}: KID over that of the {rival}"
            middle = float(np.mean(ratio))
            bar = 1 - SHARE if rival == "regression" else 1.0
            yield Claim(name, middle, min(ratio), max(ratio), len(ratio), bar, max(ratio) <= bar)
        apart = [row["apart"] for row in of("imle, 8 codes")]
        if apart:
            name = f"{place}, {taken}: distance between two answers, of what was left"
            yield Claim(name, float(np.mean(apart)), min(apart), max(apart), len(apart), APART, min(apart) >= APART)


if __name__ == "__main__":
    main()
