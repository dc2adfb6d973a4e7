"""The tail of a program (see `reach`) for any batch and seed, without minimising; and with some outputs pinned down.

Shapes: N examples; a slot's tensor is (R, ...), R rows of which each example owns R / N.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from selfsight.instruments.calls import Call, Slot
from selfsight.instruments.nest import leaves, rebuilt, rows, taken
from selfsight.instruments.reach import Tail, Unreachable

if TYPE_CHECKING:
    from selfsight.case import Case


def tail_of(case: Case, batch: Any, seed: int = 0) -> Tail:
    """What stands between the last weights of a fresh model and the loss of this batch. Raises Unreachable."""
    try:
        return Tail(lambda model, given: case.loss(model, given, None), case.model(), batch, seed)
    except Unreachable:
        raise
    except Exception as error:  # the program does something that cannot be played back
        raise Unreachable(f"its forward pass cannot be played back ({error})") from error


@dataclass(frozen=True)
class Twofold:
    """One program's tail on a batch and on the batch with two examples less: what follows the number of examples."""

    tail: Tail
    less: Tail
    count: int
    """Examples in the larger batch."""

    def by_example(self) -> list[Slot]:
        """The free outputs with at least two dimensions whose first one, and no other, follows the examples."""
        found = []
        for slot, tensor in self.tail.slots.items():
            other = self.less.slots.get(slot)
            if other is None or tensor.ndim < 2 or tensor.ndim != other.ndim or len(tensor) < 2:
                continue
            follows = len(tensor) * (self.count - 2) == len(other) * self.count
            if follows and tensor.shape[1:] == other.shape[1:]:
                found.append(slot)
        return found


def twofold(case: Case) -> Twofold:
    """Raises Unreachable where the program takes no smaller batch or gives no free outputs."""
    count = rows(case.batch)
    if count is None or count < 4:
        raise Unreachable("its batches cannot be cut by example")
    less = taken(case.batch, slice(0, count - 2))
    return Twofold(tail_of(case, case.batch), tail_of(case, less), count)


def drawn(tail: Tail, which: list[Slot], generator: torch.Generator, scale: float | None = None) -> dict[Slot, Tensor]:
    """Random outputs for some slots: normal, of the spread that the model's own have or of a given one."""
    found = {}
    for slot in which:
        own = tail.slots[slot].detach().float()
        spread = max(float(own.std(correction=0)), 1e-3) if scale is None else scale
        found[slot] = (torch.randn(own.shape, generator=generator) * spread).to(tail.slots[slot])
    return found


def pinned(tail: Tail, outputs: Mapping[Slot, Tensor]) -> Tail:
    """The tail with some outputs fixed for good, so that only the others are free."""
    fixed = copy.copy(tail)
    fixed.slots = {slot: tensor for slot, tensor in tail.slots.items() if slot not in outputs}
    fixed.calls = _answering(tail.calls, outputs)
    return fixed


def _answering(calls: list[Call], outputs: Mapping[Slot, Tensor]) -> list[Call]:
    counts: dict[str, int] = {}
    changed = []
    for call in calls:
        number = counts.get(call.name, 0)
        counts[call.name] = number + 1
        slots = {path: Slot(call.name, number, path) for path in leaves(call.output)}
        new = {path: outputs[slot] for path, slot in slots.items() if slot in outputs}
        changed.append(replace(call, output=rebuilt(call.output, new)) if new else call)
    return changed
