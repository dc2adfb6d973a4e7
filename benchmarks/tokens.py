"""Spelled out: how much of a picture do so many floats, or bits, say?

    python benchmarks/tokens.py --data DATA --seconds 120 --seeds 3 --out benchmarks/results/tokens.json --work runs/tokens

On test images of the photographs' pieces and the emoji of benchmarks/quality.py, at 32 and 64 px. Ours in two forms, tokens of
32 floats and of the original's size, gains counted; what it is held against is described in `spelling_rivals.py`. Everything
trained has the same seconds of one thread, told by timing its steps. A row is one method on one set at one side and seed,
with its mean error at each length; a claim has an interval over test images, by the bootstrap, and is of the worst of all
lengths. Each row is kept in WORK as it ends; a second call goes on where the first stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import spelling_rivals as rivals
import torch
from quality import SETS
from record import Claim, conclude, kept, parser
from rich.console import Console

import selfsight
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.images.views import Views
from selfsight.lengths import Lengths, at_mean
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.source import Source
from selfsight.spellers import Bands
from selfsight.storing import open_store
from selfsight.tasks import Tokens
from selfsight.train import State, train

PLACES = {"photographs": "patches_gray", "emoji": "emoji"}
"""The folder of each set by its name in benchmarks/quality.py; the photographs are taken in colour."""
TOKENS, BATCH, TESTED, TIMED = 12, 96, 1000, 5
STEPS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
"""What numbers are rounded to."""
QUALITIES = (1, 3, 5, 8, 12, 18, 25, 35, 50, 70)
STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--seconds", type=float, default=120.0, help="of one thread, for the steps of each training")
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--sides", default="32,64")
    given.add_argument("--sets", default=",".join(PLACES))
    given.add_argument("--work", type=Path, default=Path("runs/tokens"), help="where results are kept")
    words = given.parse_args()
    if words.quick:
        words.seconds, words.seeds, words.sides = 15.0, 1, "32"
    tested = 300 if words.quick else TESTED
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    rows = list(_rows(words, tested))
    conclude("tokens", list(claims(rows)), [{k: v for k, v in row.items() if k != "each"} for row in rows], words.out)


def images_of(data: Path, name: str, side: int, tested: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W, 3) uint8 to learn from, and at most `tested` of the val split."""
    source: Source = selfsight.sources.guess(str((data / SETS[PLACES[name]].place).resolve()))
    store = open_store(source, side, Console(quiet=True), channels=3)
    known, asked = np.flatnonzero(store.splits != "val"), np.flatnonzero(store.splits == "val")
    chosen = np.sort(np.random.default_rng(0).permutation(asked)[:tested])
    return np.array(store.images[known]), np.array(store.images[chosen])


def _rows(words: Any, tested: int) -> Iterator[dict[str, Any]]:
    """One row per set, side, seed and method; what WORK holds already is not made again."""
    for name in words.sets.split(","):
        for side in map(int, words.sides.split(",")):
            known, asked = images_of(words.data, name, side, tested)
            floats = 64 * (side // 16) ** 2 + 6
            methods: dict[str, Callable[[int], dict[str, Any]]] = {
                "ours, 32 floats": lambda s, k=known, a=asked: ours(k, a, 32, words.seconds, s),
                "ours, as large": lambda s, k=known, a=asked, f=floats: ours(k, a, f, words.seconds, s),
            } | others(known, asked, floats, words.seconds)
            for method, make in methods.items():
                for seed in range(1 if method in ("PCA", "JPEG", "WEBP") else words.seeds):
                    place = words.work / f"{name} {side} {method} {seed} {words.seconds:g}.json"
                    row = {"set": name, "side": side, "method": method, "seed": seed}
                    row |= kept(place, {}, make, seed)
                    print(name, side, method, seed, [f"{x:.5f}" for x in row["errors"]], flush=True)
                    yield row


def others(
    known: np.ndarray, asked: np.ndarray, floats: int, seconds: float
) -> dict[str, Callable[[int], dict[str, Any]]]:
    """What ours is held against, by name."""
    train_, test = _pixels(known), _pixels(asked)
    small = [32 * t for t in range(1, TOKENS + 1)]
    lengths = sorted({*small, *(min(test[0].numel(), floats * t) for t in range(1, TOKENS + 1))})

    def one(errors: torch.Tensor, sent: list[int]) -> dict[str, Any]:
        return {"errors": errors.mean(0).tolist(), "floats": sent, "each": errors.float().tolist()}

    def several(seed: int) -> dict[str, Any]:
        made = [rivals.independent(train_, test, fold, seconds, seed) for fold in (1, 2, 4)]
        return one(torch.stack([errors for errors, _ in made], 1), [sent for _, sent in made])

    def codes(seed: int) -> dict[str, Any]:
        found = one(rivals.residual_codes(train_, test, TOKENS, seed), [])
        return found | {"bits": [8.0 * t for t in range(1, TOKENS + 1)]}

    def files(kind: str) -> dict[str, Any]:
        errors, bits, bare = rivals.compressed(asked, kind, QUALITIES)
        return one(errors, []) | {"bits": bits.mean(0).tolist(), "bits without head": bare.mean(0).tolist()}

    return {
        "PCA": lambda seed: one(rivals.components(train_, test, lengths), lengths),
        "vanilla": lambda seed: one(*rivals.vanilla(train_, test, TOKENS, seconds, seed)),
        "independent auto-encoders": several,
        "nested dropout": lambda seed: one(rivals.nested(train_, test, small, seconds, seed), small),
        "residual quantisation": codes,
        "JPEG": lambda seed: files("JPEG"),
        "WEBP": lambda seed: files("WEBP"),
    }


def ours(known: np.ndarray, asked: np.ndarray, floats: int, seconds: float, seed: int) -> dict[str, Any]:
    """Trains Tokens, and tells errors by floats and by bits, the lengths' rule, and whether anything became worse."""
    task = Tokens(speller=Bands(tokens=TOKENS, floats=floats, width=26), views=STILL)
    where, side = np.arange(len(known)), known.shape[1]

    def state(steps: int) -> State:
        recipe = selfsight.Recipe(
            data=selfsight.sources.InMemory(known[:2]), task=task, encoder=Small(width=3), steps=steps, seed=seed,
            batch=BATCH, optimizer=Optimization(rate=3e-3, clip=1.0),
        )  # fmt: skip
        return State(task, build(recipe, side, 3), recipe.optimizer, engine("32-true"), steps=steps, seed=seed)

    trial, least = train(state(1000), known, where, batch=BATCH), np.inf
    for _ in range(TIMED):
        began = time.thread_time()
        next(trial)
        least = min(least, time.thread_time() - began)
    trained = state(max(10, round(seconds / least)))
    for _ in train(trained, known, where, batch=BATCH):
        pass
    model = trained.model.eval().requires_grad_(False)
    spelling, test = model.parts["speller"], _pixels(asked)
    errors = torch.cat([spelling.spell(part, model.encoder).errors(part) for part in test.split(128)])
    told: dict[str, Any] = {
        "parameters": sum(one.numel() for one in model.parameters()), "steps": trained.steps,
        "floats": [floats * t for t in range(1, TOKENS + 1)], "errors": errors[:, 1:].mean(0).tolist(),
        "each": errors[:, 1:].float().tolist(), "never worse": bool((errors.diff(dim=1) <= 0).all()),
    }  # fmt: skip
    return told | {"rounded": _rounded(model, test), "predictor": _predictor(model, known, test, errors)}


def _rounded(model: Any, test: torch.Tensor) -> list[dict[str, Any]]:
    """Errors and bits of every length and step."""
    spelling, rows = model.parts["speller"], []
    for step in STEPS:
        done = [(part, spelling.spell(part, model.encoder, step=step)) for part in test.split(128)]
        errors = torch.cat([spelt.errors(part) for part, spelt in done])
        estimate = torch.cat([spelling.estimated_bits(spelt).cumsum(1) for _, spelt in done])
        told = {
            "step": step,
            "errors": errors[:, 1:].mean(0).tolist(),
            "never worse": bool((errors.diff(dim=1) <= 0).all()),
        }
        rows.append(
            told | {"bits": np.cumsum(spelling.fixed_bits(step)).tolist(), "estimate": estimate.mean(0).tolist()}
        )
    return rows


def _predictor(model: Any, known: np.ndarray, test: torch.Tensor, errors: torch.Tensor) -> list[float]:
    """By what factor the rule's error is above the search's, at mean lengths of a quarter, half and three quarters."""
    spelling = model.parts["speller"]
    own = _pixels(known[np.random.default_rng(0).permutation(len(known))[:512]])
    fitted = [
        (spelling.clues(part, model.encoder), spelling.spell(part, model.encoder).errors(part))
        for part in own.split(128)
    ]
    rule = Lengths.fit(*(torch.cat(column) for column in zip(*fitted, strict=True)))
    foreseen = rule.errors(torch.cat([spelling.clues(part, model.encoder) for part in test.split(128)]))
    means = [TOKENS * share for share in (0.25, 0.5, 0.75)]
    return [at_mean(errors, foreseen, mean)[1] / at_mean(errors, errors, mean)[1] for mean in means]


def claims(rows: list[dict[str, Any]]) -> Iterator[Claim]:
    """Under three quarters of vanilla, at most PCA, never worse, the rule within 5 %, JPEG."""
    told = {(row["set"], row["side"], row["method"], row["seed"]): row for row in rows}
    for row in (row for row in rows if row["method"].startswith("ours")):
        place, seed = (row["set"], row["side"]), row["seed"]
        head = f"{row['set']}, {row['side']} px, {row['method']}, seed {seed}: "
        pca = told[(*place, "PCA", 0)]
        places = [pca["floats"].index(min(sent, pca["floats"][-1])) for sent in row["floats"]]
        yield _worst(head + "error in shares of PCA's, worst length", row, pca, places, 1.0)
        if row["method"] == "ours, as large":
            yield _worst(
                head + "in shares of vanilla's, worst length",
                row,
                told[(*place, "vanilla", seed)],
                list(range(TOKENS)),
                0.75,
            )
        never = row["never worse"] and all(one["never worse"] for one in row["rounded"])
        yield Claim(
            head + "no image worse by any token", float(never), float(never), float(never), len(row["each"]), 1.0, never
        )
        gap = max(row["predictor"])
        yield Claim(
            head + "the rule's error in shares of the search's", gap, gap, gap, len(row["each"]), 1.05, gap <= 1.05
        )
        for kind in ("bits", "estimate") if row["method"] == "ours, 32 floats" else ():
            name = head + f"in shares of JPEG's at 0.5 bits a pixel, {kind}"
            yield _beside_jpeg(name, row, told[(*place, "JPEG", 0)], kind)


def _worst(name: str, row: dict[str, Any], other: dict[str, Any], places: list[int], bar: float) -> Claim:
    """The largest ratio of mean errors over lengths at which there is an error at all, its interval over images."""
    a, b = np.array(row["each"]), np.array(other["each"])[:, places]
    seen = b.mean(0) > 1e-7
    draws = np.random.default_rng(0).integers(0, len(a), (1000, len(a)))
    ratios = a.mean(0)[seen] / b.mean(0)[seen]
    worst = np.flatnonzero(seen)[int(ratios.argmax())]
    spread = a[draws, worst].mean(1) / b[draws, worst].mean(1)
    low, high = np.percentile(spread, (2.5, 97.5))
    return Claim(name, float(ratios.max()), float(low), float(high), len(a), bar, bool(high <= bar))


def _beside_jpeg(name: str, row: dict[str, Any], jpeg: dict[str, Any], kind: str) -> Claim:
    """Our least error within half a bit a pixel, by JPEG's there, its files' heads not counted."""
    budget = 0.5 * row["side"] ** 2
    found = [e for one in row["rounded"] for e, bits in zip(one["errors"], one[kind], strict=True) if bits <= budget]
    order = np.argsort(jpeg["bits without head"])
    theirs = np.exp(
        np.interp(budget, np.array(jpeg["bits without head"])[order], np.log(np.array(jpeg["errors"])[order]))
    )
    value = min([*found, 1.0]) / float(theirs)  # 1: nothing that can be said in so few bits
    return Claim(name, value, value, value, len(row["each"]), 1.0, value <= 1.0)


def _pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


if __name__ == "__main__":
    main()
