"""The journal's table of 8/17, settled: four rungs, its network and ours, its failures, and its open questions.

    python benchmarks/journal_003.py --data DATA --out benchmarks/results/journal_003.json [--seeds 3] [--others 1] [--quick]

DATA holds `emoji` as class folders under train/ and val/ (benchmarks/README.md); images are made 32 pixels wide. Every row
is one training: what was varied, the rung, the seed, the right share (or mean error of a share) on images trained on and
on others, beside the best constant answer's. Rows of faults also hold the doctor's verdict. Each row is kept in WORK as it
ends; a second call goes on where the first stopped. --quick climbs the ladder alone, once, in 120 steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from journal.arms import ARMS, RUNGS, Arm, trained, verdict
from record import Claim, conclude, kept, parser

import selfsight
from selfsight.sources import guess
from selfsight.store import Packing, pack

LADDER = ("ours", "the journal's network")
"""Arms that climb all four rungs."""


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the sets")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--others", type=int, default=3, help="seeds of the arms that are not on the ladder")
    made.add_argument("--steps", type=int, default=400)
    made.add_argument("--work", type=Path, default=Path("runs/journal"), help="where results are kept as they come")
    made.add_argument("--only", nargs="+", choices=[arm.name for arm in ARMS], metavar="ARM", help="names of arms")
    given = made.parse_args()
    if not (given.data / "emoji").exists():
        raise SystemExit(f"There is no {given.data / 'emoji'}. benchmarks/README.md says where the sets come from.")
    if given.quick:
        given.seeds, given.others, given.steps = 1, 1, 120
    wanted = given.only or (LADDER if given.quick else [arm.name for arm in ARMS])
    arms = [arm for arm in ARMS if arm.name in wanted]
    images = pictures(given.data / "emoji")
    given.work.mkdir(parents=True, exist_ok=True)
    rows = list(rows_of(arms, images, given))
    conclude("journal_003", list(claims(rows)), rows, given.out)


def pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(train, val) images, (N, 32, 32, 3) uint8."""
    store = pack(guess(str(folder)), Packing(size=32, channels=3))
    return np.array(store.images[store.splits == "train"]), np.array(store.images[store.splits == "val"])


def rows_of(arms: Sequence[Arm], images: tuple[np.ndarray, np.ndarray], given: Any) -> Iterator[dict[str, Any]]:
    """One row per arm and seed; what WORK holds already is not trained again."""
    for arm in arms:
        for seed in range(given.seeds if arm.name in LADDER else given.others):
            told = {"arm": arm.name, "asks": arm.asks, "rung": arm.rung, "seed": seed}
            place = given.work / f"{arm.name}, {arm.rung} {seed} {given.steps}.json"
            row = kept(place, told, _trained, arm, images, seed, given.steps)
            print(f"{arm.name:42} {arm.rung:16} {seed} {row['val']:.3f} (constant {row['constant']:.3f})", flush=True)
            yield row


def _trained(arm: Arm, images: tuple[np.ndarray, np.ndarray], seed: int, steps: int) -> dict[str, Any]:
    """One training, and what the doctor says of a fault."""
    row = trained(arm, images, seed, steps)
    if arm.fault and not seed:
        row["doctor"] = verdict(selfsight.examine(arm.program(images[0]), seconds=120))
    return row


def claims(rows: Sequence[dict[str, Any]]) -> Iterator[Claim]:
    """Ours on each rung: right on at least .9 of the candidates, or an error of at most a third of the constant's."""
    for rung in RUNGS:
        found = [row for row in rows if row["arm"] == "ours" and row["rung"] == rung]
        if not found:
            continue
        values = torch.tensor([row["val"] for row in found])
        spread = 1.96 * float(values.std(correction=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        mean, counted = float(values.mean()), found[0]["measure"] == "right"
        bar = 0.9 if counted else found[0]["constant"] / 3
        yield Claim(
            f"{rung}: {found[0]['measure']} on validation images", mean, mean - spread, mean + spread, len(values), bar,
            mean >= bar if counted else mean <= bar,
        )  # fmt: skip


if __name__ == "__main__":
    main()
