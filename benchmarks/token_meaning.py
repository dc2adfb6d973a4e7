"""Do the tokens of labelled images cluster by meaning?

    python benchmarks/token_meaning.py --data DATA --seeds 3 --out benchmarks/results/token_meaning.json

Spellings are learned without labels from the emoji and Fashion-MNIST of benchmarks/quality.py, at 32 and 28 pixels:
`Bands`, the default, and `Recurrent`, the original; both have the same number of steps, of which Recurrent's take several
times as long. Of 2,000 images of val, each of the first four tokens alone, and the beginnings of one, two and four tokens, are then asked:

- cosine: how much more alike are two images of one class than two of different classes, by the cosine of their tokens?
- mAP: do an image's nearest by that cosine have its class?
- NMI: does k-means, with as many clusters as classes, find the classes?

Beside them stand the same speller untrained, as many principal components of the pixels at the same places, and the
encoder's embedding. A row is one training and one piece of its spelling; a claim is how far a piece is above one it stands
beside, with an interval by bootstrap over images of the mean over seeds (NMI, which no image has of its own: over
seeds, by Student's t); it holds where that is above 0. Each row is kept in WORK as it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import SETS
from record import Claim, conclude, interval, kept, parser
from rich.console import Console

from selfsight.embedding import embed_images
from selfsight.encoders import Small
from selfsight.engine import engine
from selfsight.images.views import Views
from selfsight.maths.interval import mean_interval
from selfsight.maths.nearest import mean, unit
from selfsight.maths.ranking import rank_relevant
from selfsight.maths.spectrum import principal
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.probe import Labelled, Subject
from selfsight.probes import Clustering
from selfsight.reading import Reading
from selfsight.recipe import Recipe
from selfsight.sources import InMemory
from selfsight.spellers import Recurrent
from selfsight.store import Store
from selfsight.storing import learned_from, open_store
from selfsight.tasks import Tokens
from selfsight.train import State, train

SIDES = {"emoji": 32, "fashion_mnist": 28}
STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()
SPELLERS = {
    "Bands": Tokens(views=STILL),
    "Recurrent": Tokens(speller=Recurrent(tokens=4, latent=8, width=16), lengths="folded", views=STILL),
}
PIECES = {
    **{f"token {t + 1} alone": slice(t, t + 1) for t in range(4)},
    "2 tokens": slice(0, 2),
    "4 tokens": slice(0, 4),
}
"""Token 1 alone is the beginning of one token too."""
ASKED, BATCH = 2000, 96


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(SIDES), help="comma-separated")
    given.add_argument("--steps", type=int, default=150)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--work", type=Path, default=Path("runs/token_meaning"), help="where results are kept")
    words = given.parse_args()
    if words.quick:
        words.steps, words.seeds, words.sets = 60, 2, "emoji"
    torch.set_num_threads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    rows = [row for place in words.sets.split(",") for row in _rows(place, words)]
    plain = [{name: value for name, value in row.items() if not name.startswith("each")} for row in rows]
    conclude("token_meaning", list(claims(rows)), plain, words.out)


def _rows(place: str, words: Any) -> Iterator[dict[str, Any]]:
    """One row per speller, seed, subject and piece; what WORK holds already is not made again."""
    store = open_store(SETS[place].source(words.data / SETS[place].place, words.work), SIDES[place], QUIET)
    for name in SPELLERS:
        for seed in range(words.seeds):
            told = kept(
                words.work / f"{place} {name} {seed} {words.steps}.json",
                {}, _trained, name, store, words.steps, seed,
            )  # fmt: skip
            for row in told["rows"]:
                scores = "  ".join(f"{score} {row[score]:.3f}" for score in ("cosine", "mAP", "NMI"))
                print(f"{place:14} {name:10} {seed} {row['subject']:22} {row['piece']:14} {scores}", flush=True)
                yield {"set": place, "speller": name, "seed": seed, "steps": told["steps"], **row}


QUIET = Console(quiet=True)


def _state(name: str, store: Store, steps: int, seed: int) -> State:
    optimization = Optimization(rate=3e-3, clip=1.0)
    _, side, _, channels = store.images.shape
    recipe = _recipe(name, store, seed, optimization)
    return State(SPELLERS[name], build(recipe, side, channels), optimization, engine("32-true"), steps=steps, seed=seed)


def _recipe(name: str, store: Store, seed: int, optimization: Optimization) -> Recipe:
    return Recipe(
        data=InMemory(store.images[:2]),
        task=SPELLERS[name],
        encoder=Small(width=16),
        optimizer=optimization,
        seed=seed,
    )


def _trained(name: str, store: Store, steps: int, seed: int) -> dict[str, Any]:
    asked = np.flatnonzero((store.splits == "val") & (store.labels().codes >= 0))
    asked = np.sort(np.random.default_rng(0).permutation(asked)[:ASKED])
    images, classes = np.array(store.images[asked]), np.asarray(store.labels().codes)[asked]
    state = _state(name, store, steps, seed)
    subjects = {"untrained": _tokens(state, images)}
    for _ in train(state, store.images, learned_from(store), batch=BATCH):
        pass
    subjects = {"trained": _tokens(state, images)} | subjects
    subjects["principal components"] = components(store, images, subjects["trained"].shape)
    rows = [
        {"subject": subject, "piece": piece} | judged(tokens[:, which].reshape(len(tokens), -1), classes, seed)
        for subject, tokens in subjects.items()
        for piece, which in PIECES.items()
    ]
    embedding = embed_images(state.model.encoder, images, np.arange(len(images)))
    rows.append({"subject": "encoder", "piece": "embedding", **judged(embedding, classes, seed)})
    return {"steps": steps, "rows": rows}


def _tokens(state: State, images: np.ndarray) -> np.ndarray:
    """(N, T, D) of a model as it stands, which is left in training mode."""
    model, task = state.model, state.task
    model.eval()
    recipe = Recipe(data=InMemory(images[:2]), task=task)
    with torch.no_grad():
        tokens = Reading(recipe, model.encoder, model.parts["speller"]).tokens(images)  # type: ignore[arg-type]
    model.train()
    return tokens


def components(store: Store, images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N, T, D): the first T D principal components of the pixels, nulls where there are fewer."""
    known = np.array(store.images[learned_from(store)[:10_000]]).reshape(-1, images[0].size).astype(np.float32)
    centre, directions = principal(known, min(shape[1] * shape[2], known.shape[1]))
    found = (images.reshape(len(images), -1).astype(np.float32) - centre) @ directions
    return np.pad(found, ((0, 0), (0, shape[1] * shape[2] - found.shape[1]))).reshape(shape)


def judged(features: np.ndarray, classes: np.ndarray, seed: int) -> dict[str, Any]:
    """Scores, and of each image how much nearer its class is to it, and its average precision."""
    alike = unit(features, mean(features))
    products, same = (alike @ alike.T).double().numpy(), classes[:, None] == classes[None, :]
    others = ~same
    np.fill_diagonal(same, False)
    found = same.any(1)
    near = (products * same).sum(1)[found] / same.sum(1)[found] - (products * others).sum(1)[found] / others.sum(1)[
        found
    ]
    _, precision = rank_relevant(alike, classes, (1,))
    labelled = Labelled(features, classes, np.zeros((len(classes), 1, 1, 1), np.uint8))
    agreed = next(
        score
        for score in Clustering().scores(Subject("", labelled, labelled, tuple(map(str, np.unique(classes)))), seed)
        if score.metric == "NMI"
    )
    row = {"cosine": float(near.mean()), "mAP": float(precision[found].mean()), "NMI": agreed.value}
    return row | {"each cosine": near.tolist(), "each mAP": precision[found].tolist()}


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """Each piece of a trained spelling less the same of the untrained, and of principal components."""
    told = {(row["set"], row["speller"], row["subject"], row["piece"], row["seed"]): row for row in rows}
    for place, speller in dict.fromkeys((row["set"], row["speller"]) for row in rows):
        seeds = sorted({row["seed"] for row in rows if (row["set"], row["speller"]) == (place, speller)})
        for piece in PIECES:
            for beside in ("untrained", "principal components"):
                pairs = [
                    (told[place, speller, "trained", piece, seed], told[place, speller, beside, piece, seed])
                    for seed in seeds
                ]
                for score in ("cosine", "mAP", "NMI"):
                    yield _above(f"{place}, {speller}, {piece}: {score} above {beside}", pairs, score)


def _above(name: str, pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], score: str) -> Claim:
    if score == "NMI":
        middle, low, high = interval([mine[score] - other[score] for mine, other in pairs])
        return Claim(name, middle, low, high, len(pairs), 0.0, low > 0)
    each = np.mean([np.subtract(mine[f"each {score}"], other[f"each {score}"]) for mine, other in pairs], axis=0)
    low, high = mean_interval(each, 0)
    return Claim(name, float(each.mean()), low, high, len(each), 0.0, low > 0)


if __name__ == "__main__":
    main()
