"""Whether rows of two views belong together, by cheap features and permutations.

Shapes: B batches, N rows of each view; a likeness is (N, N), first view by second.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.calls import listening
from selfsight.instruments.evidence import SURE, sign_p
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.snapshot import same, still
from selfsight.observations.pictures import families, pictures

TIMES = 2000
"""Permutations; the smallest p is then .0005."""


def _features(view: Tensor) -> list[Tensor]:
    shown = pictures(view)
    if shown is not None and len(shown) == len(view):
        return families(shown)
    return [view.float().flatten(1)]


def _standard(features: Tensor) -> Tensor:
    """Centred over the rows, each feature of one size, each row of length one."""
    centred = features.double() - features.double().mean(0)
    scaled = centred / centred.std(0, correction=0).clamp_min(1e-9)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp_min(1e-9)


def likeness(one: Tensor, two: Tensor) -> Tensor:
    """(N, N) how much row i of one looks like row j of the other, each view centred, summed over kinds of features."""
    total = torch.zeros(len(one), len(two), dtype=torch.float64)
    for first, second in zip(_features(one), _features(two), strict=True):
        found = _standard(first) @ _standard(second).T
        total += found / found.std(correction=0).clamp_min(1e-9)
    return total


def _permutations(count: int) -> Tensor:
    """(TIMES, N)"""
    drawn = torch.Generator().manual_seed(0)
    return torch.rand(TIMES, count, generator=drawn).argsort(1)


def paired_p(fits: Tensor) -> float:
    """(B, N, N) likenesses -> the share of re-pairings, the same in all batches, that fit as well as the given one."""
    summed, rows = fits.sum(0), torch.arange(fits.shape[1])
    given = summed.diagonal().sum()
    reached = sum(int(summed[rows, order].sum() >= given) for order in _permutations(len(rows)))
    return (1 + reached) / (1 + TIMES)


def rolled_p(fits: Tensor) -> tuple[int, float]:
    """(B, N, N) likenesses -> the shift of the second view that fits best, and how often the best shift of randomly
    ordered rows fits as well."""
    summed, rows = fits.sum(0), torch.arange(fits.shape[1])
    turned = (rows[None] + rows[1:, None]) % len(rows)  # (N - 1, N)

    def best(table: Tensor) -> tuple[float, int]:
        value, where = table[rows, turned].sum(1).max(0)
        return float(value), int(where) + 1

    given, shift = best(summed)
    reached = sum(best(summed[:, order])[0] >= given for order in _permutations(len(rows)))
    return shift, (1 + reached) / (1 + TIMES)


def together_p(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """How often halves of different batches, matched row to row as well as can be, fit as well as halves of the same.

    What a whole batch has in common is taken out first, for each view is centred within its batch.
    """
    if len(pairs) < 7:  # 7! re-pairings are the fewest that can show p < .001
        return 1.0
    from scipy.optimize import linear_sum_assignment  # late: every start would pay for it

    table = torch.zeros(len(pairs), len(pairs))
    for i, (one, _) in enumerate(pairs):
        for j, (_, two) in enumerate(pairs):
            found = likeness(one, two)
            rows, columns = linear_sum_assignment(found.numpy(), maximize=True)
            table[i, j] = float(found[rows, columns].mean())
    return paired_p(table[None])


def same_kind(one: Tensor, two: Tensor) -> bool:
    """Whether nothing tells the first views from the second ones: a sign test on each of their features."""
    firsts, seconds = torch.cat(_features(one), 1), torch.cat(_features(two), 1)
    above, below = (firsts > seconds).sum(0), (firsts < seconds).sum(0)
    least = min(
        sign_p(int(max(up, down)), int(up + down)) for up, down in zip(above.tolist(), below.tolist(), strict=True)
    )
    return least * firsts.shape[1] > SURE


def both_matter(case: Case, one: str, two: str) -> bool:
    """Whether some one output of the model changes with either of two parts of the batch."""
    batch, other = case.batches[0], leaves(case.batches[-1])
    size = len(leaves(batch)[one])
    if len(case.batches) < 2 or len(other[one]) != size:
        return False
    model = case.model()

    def outputs(given: Any) -> list[Tensor]:
        with still(model), torch.no_grad(), listening(model, keep=True) as calls:
            case.loss(model, given)
        return [tensor for call in calls if not call.depth for tensor in leaves(call.output).values()]

    before = outputs(batch)
    moved = [
        [not same(a, b) for a, b in zip(before, outputs(rebuilt(batch, {path: other[path]})), strict=False)]
        for path in (one, two)
    ]
    return any(first and second for first, second in zip(*moved, strict=False))
