"""Pools that are left with features instead of a picture, and the layers that get no more than they leave."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.calls import Call, listening
from selfsight.instruments.functions import Used, noting
from selfsight.instruments.nest import numbers
from selfsight.instruments.snapshot import same, still

ADAPTIVE = {f"adaptive_{kind}_pool{d}d": d for d in (1, 2, 3) for kind in ("avg", "max")}
"""Torch's adaptive pools, and how many axes each pools. One more axis than that is read as a single example."""
POOLS = {*ADAPTIVE, "mean", "amax"}


@dataclass(frozen=True)
class Starved:
    """A layer all of whose inputs are single numbers that pools left of features."""

    name: str
    columns: int
    """How many numbers it gets of each example."""
    pool: Used
    given: tuple[int, ...]
    """The shape of what was pooled."""


def starved(case: Case) -> Starved | None:
    """The first such layer; None where there is none."""
    model = case.model()
    with still(model), torch.no_grad(), noting(POOLS) as used, listening(model, keep=True) as calls:
        case.loss(model, case.batch)
    left = [(pool.output.flatten(), pool) for i, pool in enumerate(used) if _leaves_one(pool, used[:i])]
    for call in calls if left else ():
        columns = _columns(call)
        pools = [next((pool for number, pool in left if same(number, column)), None) for column in columns]
        first = pools[0] if pools else None
        if first is not None and all(pool is not None for pool in pools):
            return Starved(call.name, len(columns), first, tuple(first.inputs[0].shape))
    return None


def _columns(call: Call) -> list[Tensor]:
    """Each number that a module with parameters gets of every example; none where it gets several tensors."""
    given = list(numbers(call.inputs).values())
    weightless = not any(True for _ in call.module.parameters())
    if weightless or len(given) != 1 or given[0].ndim < 2 or len(given[0]) < 2:
        return []
    return list(given[0].flatten(1).unbind(1))


def _leaves_one(pool: Used, before: list[Used]) -> bool:
    """Whether a pool leaves one number per example of features that are no picture."""
    given, output = pool.inputs[0] if pool.inputs else None, pool.output
    if not isinstance(given, Tensor) or not isinstance(output, Tensor) or not given.ndim or not output.ndim:
        return False
    count = len(given)
    if count < 2 or len(output) != count or output.numel() != count or given.numel() == count:
        return False
    if given.ndim == ADAPTIVE.get(pool.name, 0) + 1:  # torch reads the batch axis as channels
        return True
    return any(isinstance(old.output, Tensor) and same(old.output.flatten(), given.flatten()) for old in before)
