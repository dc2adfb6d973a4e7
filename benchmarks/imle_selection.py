"""How many codes are tried a second, beside the loop over images that conditional IMLE was published with.

    python benchmarks/imle_selection.py --out benchmarks/results/imle_selection.json

For every picture of a batch and every level, K codes are tried and the nearest answer's code is kept. The published loop
(CAM-Net's, as its training describes itself) is written out below: one picture at a time, codes in mini-batches of 20,
every level below run again for each code though its own code is settled, the truth's features found again for each
mini-batch. Both are handed the same seeds; a claim is that they choose the same codes, and that selfsight's selection
tries at least 20 times as many a second (median of the repeats; the interval is their range). Rows tell what caching the
levels alone gives, picture by picture, and the ratio with an encoder's features as the distance, which costs both alike.
Pictures are noise, which costs what photographs cost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from record import Claim, conclude, parser
from rich.console import Console
from torch import Tensor

from selfsight.allocator import keep_memory
from selfsight.distance import Gauge
from selfsight.distances import Features, Pixels
from selfsight.encoders import Small
from selfsight.restorer import Stack
from selfsight.restorers import CamNet
from selfsight.selection import Selection

MINI = 20
"""Codes in a mini-batch of the published loop."""
BAR = 20.0


@dataclass(frozen=True)
class Case:
    """What both are asked."""

    stack: Stack
    gauge: Gauge
    left: Tensor
    truth: Tensor
    seeds: Tensor

    @property
    def tries(self) -> int:
        """Codes tried, over all pictures and levels."""
        return self.seeds.numel()


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--images", type=int, default=32)
    given.add_argument("--codes", type=int, default=120, help="of a picture, at every level")
    given.add_argument("--side", type=int, default=64, help="pixels")
    given.add_argument("--repeats", type=int, default=5)
    words = given.parse_args()
    images, codes, repeats = (4, 40, 3) if words.quick else (words.images, words.codes, words.repeats)
    keep_memory()
    console, claims, rows = Console(stderr=True), [], []
    gauges = {"pixels and gradients": Pixels().build(3)}
    gauges["features of an encoder"] = Features().build(3, Small().build(3, words.side))
    for name, gauge in gauges.items():
        case = made(gauge, images, codes, words.side)
        main_claim = name == "pixels and gradients"
        row, ratios, same = compared(case, repeats if main_claim else 1)
        row = {"distance": name, "images": images, "codes": codes, "side": words.side, **row}
        console.print(row, soft_wrap=True)
        rows.append(row)
        median, low, high = statistics.median(ratios), min(ratios), max(ratios)
        claims.append(Claim(f"{name}: share of codes chosen alike", same, same, same, images, 1.0, same == 1.0))
        if main_claim:
            told = f"{name}: codes tried a second, selfsight's over the published loop's"
            claims.append(Claim(told, median, low, high, len(ratios), BAR, median >= BAR))
    conclude("imle_selection", claims, rows, words.out)


def made(gauge: Gauge, images: int, codes: int, side: int) -> Case:
    g = torch.Generator().manual_seed(0)
    stack = CamNet().build(3, side)
    left, truth = (torch.rand(images, 3, side, side, generator=g) for _ in range(2))
    return Case(stack, gauge, left, truth, stack.seeds(images, codes, g))


def compared(case: Case, repeats: int) -> tuple[dict[str, float], list[float], float]:
    """Times of each way in turn -> what a row tells, the ratios, and the share of codes chosen alike."""
    ways: dict[str, Callable[[Case], Tensor]] = {"published": published, "cached": image_by_image, "selfsight": ours}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    chosen: dict[str, Tensor] = {}
    warm = Case(case.stack, case.gauge, case.left[:1], case.truth[:1], case.seeds[:1])
    for way in ways.values():
        way(warm)
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            chosen[name] = way(case)
            seconds[name].append(time.perf_counter() - started)
    ratios = [slow / fast for slow, fast in zip(seconds["published"], seconds["selfsight"], strict=True)]
    same = float((chosen["published"] == chosen["selfsight"]).float().mean())
    row = {f"{name}, codes a second": round(case.tries / statistics.median(each), 1) for name, each in seconds.items()}
    return row | {"ratio": round(statistics.median(ratios), 2), "threads": torch.get_num_threads()}, ratios, same


def ours(case: Case) -> Tensor:
    selection = Selection(codes=(case.seeds.shape[2],))
    return selection(case.stack, case.gauge, case.left, case.truth, case.seeds).seeds


def image_by_image(case: Case) -> Tensor:
    """Levels cached, codes in mini-batches: the published loop with nothing but its worst waste gone."""
    selection = Selection(codes=(case.seeds.shape[2],), budget=MINI)
    each = [
        selection(case.stack, case.gauge, *(x[i : i + 1] for x in (case.left, case.truth, case.seeds))).seeds
        for i in range(len(case.left))
    ]
    return torch.cat(each)


@torch.no_grad()
def published(case: Case) -> Tensor:
    """The loop over images, levels and mini-batches of codes -> (N, L) chosen seeds."""
    stack, chosen = case.stack, torch.zeros(case.seeds.shape[:2], dtype=torch.int64)
    for i in range(len(case.left)):
        left, truth = case.left[i : i + 1], case.truth[i : i + 1]
        for l in range(stack.levels):
            far = []
            for seeds in case.seeds[i, l].split(MINI):
                answers = _to_level(stack, left.expand(len(seeds), -1, -1, -1), chosen[i, :l], seeds)
                far.append(case.gauge(answers.unsqueeze(0), stack.pictures(truth)[l])[0])
            chosen[i, l] = case.seeds[i, l, int(torch.cat(far).argmin())]
    return chosen


def _to_level(stack: Stack, left: Tensor, below: Tensor, seeds: Tensor) -> Tensor:
    """Every level up to the one that these seeds are for, with the settled codes of the levels below."""
    codes = [stack.code(j, seed.expand(len(seeds))) for j, seed in enumerate(below)] + [stack.code(len(below), seeds)]
    state = None
    for l, (small, code) in enumerate(zip(stack.pictures(left), codes, strict=False)):
        answer, state = stack.level(l, small, code, state)
    return answer


if __name__ == "__main__":
    main()
