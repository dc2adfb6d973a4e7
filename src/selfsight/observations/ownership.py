"""Which rows of the free outputs belong to which example, and which are its two views: found by changing one at a time.

Shapes: N examples; R rows of an output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from selfsight.instruments.calls import Slot, listening, slots_of
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.reach import Tail
from selfsight.instruments.snapshot import same, still

if TYPE_CHECKING:
    from selfsight.case import Case

CLEAR = 0.3
"""A row belongs to an example whose change moves it by more than this share of what the most moved row moves; batch
statistics in train mode move the others by a fifth."""
Row = tuple[Slot, int]


def pictures(batch: Any) -> dict[str, Tensor]:
    """The leaves that can be views: floating point or bytes, with something in every row."""
    return {
        path: leaf
        for path, leaf in leaves(batch).items()
        if leaf.ndim >= 2 and (leaf.is_floating_point() or leaf.dtype == torch.uint8)
    }


def partners(case: Case, tail: Tail, batch: Any, other: Any) -> list[set[Row]]:
    """For each example with two views, the rows of the free outputs that are made of them.

    Without Program.views: for each example all its rows. Groups of fewer than two rows are left out.
    """
    model = case.model().eval()
    before, shown = _outputs(case, model, batch, tail), _views(case, batch)
    groups: dict[int, set[Row]] = {}
    for row, changed in _changes(batch, other):
        examples = {row} if shown is None else _touched(shown, _views(case, changed))
        if not examples:
            continue
        after = _outputs(case, model, changed, tail)
        for example in examples:
            groups.setdefault(example, set()).update(_moved(before, after))
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def _changes(batch: Any, other: Any) -> Iterator[tuple[int, Any]]:
    """The batch with one row of one leaf taken from another batch."""
    new = leaves(other)
    for path, leaf in pictures(batch).items():
        for row in range(len(leaf)):
            changed = leaf.clone()
            changed[row] = new[path][row] if path in new and len(new[path]) > row else leaf[row - 1]
            yield row, rebuilt(batch, {path: changed})


def _views(case: Case, batch: Any) -> tuple[Tensor, Tensor] | None:
    return case.call("views", batch) if case.has("views") else None


def _touched(shown: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor] | None) -> set[int]:
    """The examples of which a view is no longer what it was."""
    assert now is not None
    return {i for one, two in zip(shown, now, strict=True) for i in range(len(one)) if not same(one[i], two[i])}


def _outputs(case: Case, model: nn.Module, batch: Any, tail: Tail) -> dict[Slot, Tensor]:
    with still(model), torch.no_grad(), listening(model, keep=True) as calls:
        case.loss(model, batch)
    return {slot: value for slot, value in slots_of(model, calls).items() if slot in tail.slots and value.ndim >= 2}


def _moved(before: dict[Slot, Tensor], after: dict[Slot, Tensor]) -> set[Row]:
    found = set()
    for slot, value in before.items():
        now = after.get(slot)
        if now is None or now.shape != value.shape:
            continue
        moves = (now.double() - value.double()).flatten(1).norm(dim=1)
        found |= {(slot, i) for i, move in enumerate(moves.tolist()) if move > CLEAR * float(moves.max()) > 0}
    return found


def of_one_shape(groups: list[set[Row]], tail: Tail) -> tuple[list[Slot], list[set[Row]]]:
    """The slots of one shape that hold two rows or more of every example; ([], []) where there are none."""
    shapes = {tail.slots[slot].shape[1:] for group in groups for slot, _ in group}
    for shape in sorted(shapes, key=lambda size: -size.numel()):
        cut = [{row for row in group if tail.slots[row[0]].shape[1:] == shape} for group in groups]
        apart = sum(map(len, cut)) == len(set().union(*cut))
        if apart and min(map(len, cut)) > 1 and len(set(map(len, cut))) == 1:
            return [slot for slot, value in tail.slots.items() if value.shape[1:] == shape], cut
    return [], []


def positions(tail: Tail, slots: list[Slot], groups: list[set[Row]]) -> list[list[int]]:
    """The groups as row numbers of all slots' rows laid one below the other."""
    order = {row: i for i, row in enumerate((slot, i) for slot in slots for i in range(len(tail.slots[slot])))}
    return [sorted(order[row] for row in group) for group in groups]
