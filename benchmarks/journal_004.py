"""The questions of the journal of variable-length embeddings: where to remember, what to show, and why masks collapse.

    python benchmarks/journal_004.py --data DATA --seeds 3 --out benchmarks/results/journal_004.json --work runs/journal_004

Spellings on the emoji of benchmarks/quality.py at 32 pixels; masks on flat scenes of dSprites at 32 pixels, whose true masks
are known. Every arm is the first of its part with one thing changed, and has the same number of steps. A row of a spelling
holds what is left unexplained of unseen pictures after each token (1: as far off as the mean picture); a row of masks how much
is left, the foreground ARI, the shares of full, empty, constant and repeated masks, how striped they are, and whether the loss
gives less for masks that are full and empty in turn than for the true ones. A verdict, of each form of masks, is what the
doctor says of its training, and by how much the loss gives less for each way to collapse than for the true masks. A claim is an arm's difference to the first of
its part, over seeds, by Student's t; it holds where the interval leaves out 0. Each row is kept in WORK as it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decompose import JUDGED, STILL, judged
from record import Claim, conclude, interval, kept, parser
from torch import Tensor

from selfsight.batch import Batch, Now
from selfsight.checks.masks import Masks
from selfsight.decoder import Decoder
from selfsight.doctor.examine import examine
from selfsight.doctor.recipes import program_on
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.recipe import Recipe
from selfsight.seeds import generator
from selfsight.sources import InMemory, Scenes
from selfsight.sources.guess import guess
from selfsight.spellers import Recurrent
from selfsight.store import Packing, pack
from selfsight.task import Task
from selfsight.tasks import Decompose, Saliency, Tokens
from selfsight.train import State, train

SIDE, BATCH, ASKED = 32, 32, 320
OPTIMIZATION = Optimization(rate=3e-3, clip=1.0)
PRICE = 1e-4
"""Of a nat, in variances of the pictures: 2 s^2 / (3 x 32 x 32 pixels) for an error s^2 of a seventh of the variance."""
SPELLER = Recurrent(tokens=4, latent=8, width=16)
SPELT = Tokens(speller=SPELLER, lengths="folded", views=STILL)
MASKED = Saliency(views=STILL, decoder=Decoder(width=16))


@dataclass(frozen=True)
class Arm:
    """One thing changed, and what the journal wondered."""

    name: str
    task: Task
    asks: str = ""


def _spelt(
    name: str, asks: str, lengths: str = "folded", losses: str = "both", information: float = 0.0, **speller: Any
) -> Arm:
    task = replace(SPELT, lengths=lengths, losses=losses, information=information, speller=replace(SPELLER, **speller))  # type: ignore[arg-type]
    return Arm(name, task, asks)


def _masked(name: str, asks: str, **fields: Any) -> Arm:
    return Arm(name, replace(MASKED, **fields), asks)


SPELLINGS = (
    Arm("spelling: the original", SPELT),
    _spelt("no memory", "is memory of use? (3/28)", memory="none"),
    _spelt("memory in the latent", "memory in the encoder or in the latent? (3/28, 4/14)", memory="latent"),
    _spelt("masked image", "residual, masked residual, image + mask? (4/28)", input="masked image"),
    _spelt("masked residual", "residual, masked residual, image + mask? (4/28)", input="masked residual"),
    _spelt("image + mask", "residual, masked residual, image + mask? (4/28)", input="image + mask"),
    _spelt("told how many", "is it of use to tell the number of tokens? (4/12)", told_count=True),
    _spelt("any number at each step", "random numbers of tokens (4/10)", lengths="uniform"),
    _spelt("every picture its own number", "random numbers of tokens (4/10)", lengths="nested"),
    _spelt("final loss alone", "both losses together? (4/28)", losses="final"),
    _spelt("auxiliary loss alone", "both losses together? (4/28)", losses="auxiliary"),
    _spelt("latent of 3 channels", "latent channels (4/20)", latent=3),
    _spelt("not normalised", "normalise inputs again? (4/14)", normalise=False),
    _spelt("gains of 1 while it learns", "", searched=False),
    _spelt("gradients through what is left", "joint training (5/1)", through=True),
    _spelt("a loop around one token", "joint training (5/1)", lengths="one", memory="none"),
    _spelt(
        "a loop around a variational token",
        "joint training, around a VAE (5/1)",
        lengths="one",
        information=PRICE,
        memory="none",
        variational=True,
    ),
    _spelt("each pass for itself", "joint training, the fair loop (5/1)", losses="auxiliary", memory="none"),
)
MASKS = (
    Arm("masks: as concluded", MASKED),
    _masked("masks of the decoder", "Mask Inherent (5/1)", model="inherent", shown="residual"),
    _masked("constructor", "constructor and deconstructor (4/29)", model="constructor"),
    _masked("residual", "what to show (4/28)", shown="residual"),
    _masked("masked image", "what to show (4/28)", shown="masked image"),
    _masked("memory in the net of masks", "memory in the saliency head (4/27)", memory=True),
    _masked("net of 1 block", "size of the net (4/28)", blocks=1),
    _masked("net of 6 blocks, 48 wide", "size of the net, stripes (4/28)", blocks=6, width=48),
    _masked("no loss of masks", "without imposing differences (4/27)", apart=0.0),
    _masked("apart from the one before", "full, empty, repeated (4/4)", apart=0.0, previous=1.0),
    _masked("apart from both", "e^-x on both (4/12)", previous=1.0),
    _masked("apart from nothing too", "the later loss", filled=1.0),
    _masked("pushed to 0 and 1", "binary masks (4/4)", binary=0.3),
    _masked("sigmoid grows steeper", "annealing the sigmoid (4/14, 4/28)", steepness=5.0),
    _masked("sum not clamped", "clamping (4/28)", clamp=False),
    _masked("smooth", "smoothing (4/25)", smooth=0.3),
    _masked("inverse shown", "inverse masks as input (4/25)", inverse=True),
    _masked("smooth, inverse shown", "smoothing with inverse masks (4/25)", smooth=0.3, inverse=True),
    _masked("own errors too", "both losses together? (4/28)", auxiliary=1.0),
    Arm("sound: slots", Decompose(views=STILL), "masks that compose the picture"),
)  # fmt: skip


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--steps", type=int, default=400)
    given.add_argument("--part", choices=["spellings", "masks", "verdicts"], help="one alone")
    given.add_argument("--work", type=Path, default=Path("runs/journal_004"), help="where results are kept")
    words = given.parse_args()
    if words.quick:
        words.seeds, words.steps = 1, 60
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    if words.part in (None, "spellings"):
        if not (words.data / "emoji").exists():
            raise SystemExit(f"There is no {words.data / 'emoji'}. benchmarks/README.md says where the sets come from.")
        store = pack(guess(str(words.data / "emoji")), Packing(size=SIDE, channels=3))
        known, asked = (np.array(store.images[mine]) for mine in (store.splits != "val", store.splits == "val"))
        rows += _rows(SPELLINGS, words, known, lambda state: spelt(state, asked[:ASKED]))
    verdicts: list[dict[str, Any]] = []
    if words.part != "spellings":
        source = Scenes(count=3000 + ASKED, side=SIDE)
        scenes = [source.scene(number) for number in range(source.count)]
        images, owners = np.stack([one.image for one in scenes]), np.stack([one.owner for one in scenes])
        if words.part != "verdicts":
            rows += _rows(MASKS, words, images[:-ASKED], lambda state: masked(state, images[-ASKED:], owners[-ASKED:]))
        if words.part != "masks":
            verdicts += _verdicts(words.work, images[:-ASKED], owners[-ASKED:])
    conclude("journal_004", list(claims(rows)), [*rows, *verdicts], words.out)


def _rows(arms: Sequence[Arm], words: Any, images: np.ndarray, judge: Any) -> Iterator[dict[str, Any]]:
    """One row per arm and seed; what WORK holds already is not trained again."""
    first = arms[0].name
    for arm in arms:
        for seed in range(words.seeds):
            place = words.work / f"{first.partition(':')[0]}, {arm.name.replace(': ', ' ')} {seed} {words.steps}.json"
            told = {"part": first, "arm": arm.name, "asks": arm.asks, "seed": seed}
            row = kept(place, told, _judged, judge, arm.task, images, words.steps, seed)
            print(f"{arm.name:30} {seed} {row['left'][-1]:.4f} {row.get('ari', 0.0):.3f}", flush=True)
            yield row


def _verdicts(work: Path, images: np.ndarray, owners: np.ndarray) -> Iterator[dict[str, Any]]:
    """One row per form of masks; what WORK holds already is not asked again."""
    for arm in MASKS:
        told = {"part": "verdicts", "arm": arm.name}
        row = kept(work / f"verdict, {arm.name.replace(': ', ' ')}.json", told, verdict, arm.task, images, owners)
        print(f"{arm.name:30} {row['doctor']}", flush=True)
        yield row


def verdict(task: Task, images: np.ndarray, owners: np.ndarray) -> dict[str, Any]:
    """What the doctor says of the masks after it trained them, and what the loss would give for collapsed ones."""
    recipe = Recipe(data=InMemory(images[:2]), task=task, encoder=Small(width=8), optimizer=OPTIMIZATION, batch=BATCH)
    found = examine(program_on(recipe, images, np.arange(len(images))), checks=(Masks(),)).findings
    said = f"{found[0].grade.name}: {found[0].sentence}" if found else "silent"
    return {"doctor": said} | ({"saved": saved(task, owners)} if isinstance(task, Saliency) else {})


def _judged(judge: Callable[[State], dict[str, Any]], *given: Any) -> dict[str, Any]:
    return judge(trained(*given))


def trained(task: Task, images: np.ndarray, steps: int, seed: int) -> State:
    recipe = Recipe(data=InMemory(images[:2]), task=task, encoder=Small(width=8), optimizer=OPTIMIZATION, seed=seed)
    state = State(task, build(recipe, SIDE, 3), OPTIMIZATION, engine("32-true"), steps=steps, seed=seed)
    for _ in train(state, images, np.arange(len(images)), batch=BATCH):
        pass
    state.model.eval().requires_grad_(False)
    return state


def spelt(state: State, images: np.ndarray) -> dict[str, Any]:
    """What is left of the variance after each token."""
    speller, test = state.model.parts["speller"], _pixels(images)
    errors = torch.cat([speller.spell(part, state.model.encoder).errors(part) for part in test.split(80)])  # type: ignore[operator]
    return {"left": (errors[:, 1:].mean(0) / test.var(0, correction=0).mean()).tolist()}


def masked(state: State, images: np.ndarray, owners: np.ndarray) -> dict[str, Any]:
    """What is left, what became of the masks, and what the loss would rather have."""
    task: Any = replace(state.task, views=JUDGED)  # type: ignore[type-var]
    batch = Batch(_pixels(images).mul(255).byte(), torch.arange(len(images)))
    with torch.no_grad():
        example = task.prepare(batch, Now(0, 1, generator("asked")))
        prediction = task.predict(state.model, example)
        masks = task.masks(prediction, example)
        left = 1 - float(task.loss(prediction, example).measures["explained"])
    told = {"left": [left], **judged(state.task, state.model, images, owners), "striped": striped(masks)}
    return told | (
        {"collapse costs less by": saved(task, owners)["full and empty in turn"]} if isinstance(task, Saliency) else {}
    )


def striped(masks: Tensor) -> float:
    """The mean over masks of how many times as much neighbours differ in one direction as in the other, at most 10."""
    across, down = (masks.diff(dim=d).abs().mean((2, 3)) + 1e-4 for d in (-1, -2))
    return float((torch.maximum(across, down) / torch.minimum(across, down)).clamp(max=10).mean())


def saved(task: Saliency, owners: np.ndarray) -> dict[str, float]:
    """How much less the loss asks for collapsed masks than for the true ones, by the way they collapse; below 0: more."""
    truth = torch.from_numpy(owners.astype(np.int64)).clamp(max=task.turns - 1)
    true = torch.nn.functional.one_hot(truth, task.turns).permute(0, 3, 1, 2).float()
    place = torch.arange(task.turns)
    flat = {"full and empty in turn": place % 2 == 0, "the first full": place == 0, "all empty": place < 0}
    ways = {name: fills.float().view(1, -1, 1, 1).expand_as(true) for name, fills in flat.items()}
    ways |= {"all a half": torch.full_like(true, 0.5), "one repeated": true[:, :1].expand_as(true)}
    wished = float(task.wish(true))
    return {name: wished - float(task.wish(masks)) for name, masks in ways.items()}


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """Each arm less the first of its part, seed by seed: what is left at the end and, of masks, the ARI."""
    told = {(row["part"], row["arm"], row["seed"]): row for row in rows}
    for arm, part in dict.fromkeys((row["arm"], row["part"]) for row in rows if row["arm"] != row["part"]):
        pairs = [(row, told[part, part, seed]) for (of, name, seed), row in told.items() if (of, name) == (part, arm)]
        head = arm if "ari" not in pairs[0][0] else f"masks, {arm}"
        yield _difference(f"{head}: left unexplained", [mine["left"][-1] - first["left"][-1] for mine, first in pairs])
        if "ari" in pairs[0][0]:
            yield _difference(f"{head}: foreground ARI", [mine["ari"] - first["ari"] for mine, first in pairs])


def _difference(name: str, values: Sequence[float]) -> Claim:
    mean, low, high = interval(values)
    return Claim(name, mean, low, high, len(values), 0.0, low > 0 or high < 0)


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


if __name__ == "__main__":
    main()
