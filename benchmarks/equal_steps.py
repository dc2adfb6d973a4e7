"""Does what makes a step fast cost accuracy? The same training by torch's own layers in fp32, in bf16, and in few passes.

    python benchmarks/equal_steps.py --data DATA --steps 200 --seeds 3 --out benchmarks/results/equal_steps.json

SimCLR with the default encoder on emoji and on pieces of photographs, at --size pixels: the same images, views, batches
and rates for all, seed by seed; only how the network is computed differs. Nearest neighbours and logistic regression on
validation images. A claim: by how many points the quick way lies from the slow one, its interval by Student's t over
seeds; it holds where no more than MARGIN points can have been lost. Each training is kept in WORK as it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from imagined_views import VIEWS, judged
from record import Claim, conclude, interval, kept, parser, require_same

import selfsight
from selfsight.engine import solitary
from selfsight.plan import build
from selfsight.sources import Packed, guess
from selfsight.store import Packing, Store, pack
from selfsight.storing import learned_from
from selfsight.train import State, train

WAYS: dict[str, tuple[Literal["32-true", "bf16-mixed"], bool]] = {
    "fp32": ("32-true", False),
    "bf16": ("bf16-mixed", False),
    "bf16, few passes": ("bf16-mixed", True),
}
MARGIN = 2.0
SLOW, QUICK = "fp32", "bf16, few passes"


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    given.add_argument("--sets", default=",".join(VIEWS), help="comma-separated")
    given.add_argument("--steps", type=int, default=200)
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--size", type=int, default=32, help="pixels")
    given.add_argument(
        "--work", type=Path, default=Path("runs/equal_steps"), help="where results are kept as they come"
    )
    words = given.parse_args()
    if words.quick:
        words.steps, words.sets = 60, "emoji"
    require_same(words.work, {"size": words.size})
    rows = [row for place in words.sets.split(",") for row in _rows(place, words)]
    conclude("equal_steps", list(claims(rows)), rows, words.out)


def _rows(place: str, words: Any) -> Iterator[dict[str, Any]]:
    name = place.replace("/", "_")
    store = pack(guess(str(words.data / place)), Packing(size=words.size), out=words.work / f"{name}.store")
    for seed in range(words.seeds):
        for way in WAYS:
            at = words.work / f"{name} {way} {seed} {words.steps}.json"
            row = kept(at, {"set": place, "way": way, "seed": seed}, _row, store, place, way, seed, words.steps)
            print(f"{place:15} {way:17} {seed}  kNN {row['knn']:.3f}  linear {row['linear']:.3f}", flush=True)
            yield row


def _row(store: Store, place: str, way: str, seed: int, steps: int) -> dict[str, Any]:
    precision, fused = WAYS[way]
    task = selfsight.SimCLR(views=VIEWS[place])
    recipe = selfsight.Recipe(
        data=Packed(str(store.path)), task=task, steps=steps, seed=seed, precision=precision, fused=fused
    )
    model = build(recipe, store.images.shape[1], store.images.shape[3])
    state = State(task, model, recipe.optimizer, solitary(precision), steps=steps, seed=seed, fused=fused)
    losses = [step.loss for step in train(state, store.images, learned_from(store), batch=recipe.batch_size)]
    knn, linear = judged(store, state.model.encoder.eval(), seed)
    return {"steps": steps, "loss": losses[-1], "knn": knn.value, "linear": linear.value}


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """The quick way less the slow one, pair by pair."""
    for place in dict.fromkeys(row["set"] for row in rows):
        for score in ("knn", "linear"):
            told = {(row["way"], row["seed"]): 100 * row[score] for row in rows if row["set"] == place}
            gains = [told[QUICK, seed] - told[SLOW, seed] for way, seed in told if way == SLOW]
            middle, low, high = interval(gains)
            name = f"{place}: points of {score} accuracy of {QUICK}, less those of {SLOW}, after equal steps"
            yield Claim(name, middle, low, high, len(gains), -MARGIN, low > -MARGIN)


if __name__ == "__main__":
    main()
