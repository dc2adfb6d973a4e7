"""Whether a program's step heeds the batch it is given."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.calls import listening
from selfsight.instruments.nest import kept, leaves
from selfsight.instruments.snapshot import same

FEW = 3
"""Batches that are tried."""


def deaf(case: Case) -> bool:
    """Whether one own step, from one start, ends alike for batches that differ, and shows the model nothing else."""
    distinct: list[Any] = []
    for batch in case.batches:
        if leaves(batch) and not any(_alike(batch, known) for known in distinct):
            distinct.append(batch)
    if len(distinct) < FEW:
        return False
    first, shown = _after(case, distinct[0], 0)
    if not shown or not any(bool(tensor.any()) for tensor in first[1]):
        return False
    for batch, seed in [(distinct[1], 0), (distinct[2], 0), (distinct[0], 1)]:
        ended, seen = _after(case, batch, seed)
        if len(seen) != len(shown) or not all(map(same, seen, shown)):
            return False
        if seed == 0 and not all(map(same, [*ended[0], *ended[1]], [*first[0], *first[1]])):
            return False
    return True


def _alike(one: Any, other: Any) -> bool:
    """Whether any tensor of two batches is the same: then they are no test."""
    these, those = leaves(one), leaves(other)
    return any(path in those and same(these[path], those[path]) for path in these)


def _after(case: Case, batch: Any, seed: int) -> tuple[tuple[list[Tensor], list[Tensor]], list[Tensor]]:
    """((weights, gradients and changes) after one own step, what the model was shown)."""
    trial = case.begin()
    start = [parameter.detach().clone() for parameter in trial.model.parameters()]
    with listening(trial.model, keep=True) as calls:
        case.step(trial, kept(batch), seed=seed)
    now = [parameter.detach().clone() for parameter in trial.model.parameters()]
    changes = [one - other for one, other in zip(now, start, strict=True)]
    gradients = [p.grad.clone() for p in trial.model.parameters() if p.grad is not None and not p.grad.is_sparse]
    shown = [tensor for call in calls if call.depth == 0 for tensor in leaves(call.inputs).values()]
    return (now, [*changes, *gradients]), shown
