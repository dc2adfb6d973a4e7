"""Fitting one frozen batch: by the program's own steps, by plain ones, or by a stand-in for the network.

A training that cannot fit eight examples whose tensors and draws never change cannot learn anything. The tensors are
frozen, not the indices: a task that draws its question anew at each access is another task each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.instruments.calls import Call, Slot
from selfsight.instruments.clock import Allowance
from selfsight.instruments.nest import leaves, numbers
from selfsight.instruments.reach import Tail

FITTED = 0.9
"""Progress at which a batch counts as fitted: nine tenths of the way from a constant answer to the best one."""
RATES = (1e-3, 1e-2, 1e-4)
"""Adam's rates that are tried, in this order: the first that fits ends it."""
MOVED = 0.05
"""Progress that counts as any movement at all."""
EVERY = 5
"""Steps between two looks at the progress."""


@dataclass(frozen=True)
class Fit:
    """How far a fit came."""

    progress: list[float]
    """At the start and after every few steps."""
    losses: list[float]
    steps: int

    @property
    def best(self) -> float:
        """The furthest it came; -inf where no loss was finite."""
        return max((value for value in self.progress if math.isfinite(value)), default=-math.inf)

    @property
    def fitted(self) -> bool:
        return self.best >= FITTED


def fitting(
    step: Callable[[], Any],
    value: Callable[[], float],
    progress: Callable[[float], float],
    steps: int,
    seconds: float,
    hopeless: int | None = None,
) -> Fit:
    """Steps until the batch is fitted or steps or seconds are used up; ended where `hopeless` steps moved nothing."""
    losses, allowed, made = [value()], Allowance(seconds), 0
    curve = [progress(losses[0])]
    while made < steps and not allowed.over and curve[-1] < FITTED:
        for _ in range(min(EVERY, steps - made)):
            step()
            made += 1
        losses.append(value())
        curve.append(progress(losses[-1]))
        stands = hopeless is not None and made >= hopeless and max(curve) < curve[0] + MOVED
        if stands or not math.isfinite(losses[-1]):
            break
    return Fit(curve, losses, made)


def best_of(fits: Iterator[Fit]) -> Fit:
    """The first that fits; where none does, the one that came furthest."""
    tried: list[Fit] = []
    for fit in fits:
        tried.append(fit)
        if fit.fitted:
            return fit
    return max(tried, key=lambda fit: fit.best)


class StandIn(nn.Module):
    """A plain network in the place of the program's: from what entered it to what its last weights put out.

    Two layers on the flattened inputs, one such net for each module that has the last word; it can fit any eight
    different examples. Shapes: a slot's tensor is (R, ...), its inputs have R rows each.
    """

    def __init__(self, tail: Tail, hidden: int = 256) -> None:
        super().__init__()
        self.tail = tail
        self.inputs = {slot: _entered(tail.calls, slot, len(tensor)) for slot, tensor in tail.slots.items()}
        self.nets = nn.ModuleDict()
        for slot, tensor in tail.slots.items():
            if _key(slot) not in self.nets:
                width = self.inputs[slot].shape[1]
                self.nets[_key(slot)] = nn.Sequential(
                    nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, tensor[0].numel())
                )

    def outputs(self) -> dict[Slot, Tensor]:
        """What it says in each slot."""
        return {
            slot: self.nets[_key(slot)](self.inputs[slot]).reshape(tensor.shape).to(tensor.dtype)
            for slot, tensor in self.tail.slots.items()
        }

    def loss(self) -> Tensor:
        """The program's loss of what it says."""
        return self.tail(self.outputs())


def _key(slot: Slot) -> str:
    return f"{slot.module}{slot.path}".replace(".", "/") or "model"


def _entered(calls: list[Call], slot: Slot, count: int) -> Tensor:
    """(count, ...) float: what entered the model on the way to a slot, flattened and standardised.

    Where the model is called by parts, a part's input that an earlier part put out is followed back to that part's own.
    Raises ValueError where no input has as many rows.
    """
    number = -1
    place = next(i for i, call in enumerate(calls) if call.name == slot.module and (number := number + 1) == slot.call)
    outer = max(i for i in range(place + 1) if calls[i].depth == 0)
    given = list(numbers(calls[outer].inputs).values()) or _integers(calls[outer])
    for earlier in reversed([call for call in calls[:outer] if call.depth == 0]):
        made = list(numbers(earlier.output).values())
        if any(one.shape == other.shape and torch.equal(one, other) for one in given for other in made):
            given = list(numbers(earlier.inputs).values()) or _integers(earlier)
    usable = [tensor.float().flatten(1) for tensor in given if tensor.ndim > 1 and len(tensor) == count]
    if not usable:
        raise ValueError("what enters the network has not as many rows as what it puts out")
    flat = torch.cat(usable, 1)
    return (flat - flat.mean(0)) / flat.std(0, correction=0).clamp_min(1e-6)


def _integers(call: Call) -> list[Tensor]:
    return [tensor.float() for tensor in leaves(call.inputs).values()]
