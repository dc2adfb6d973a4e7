"""Which parts of a batch never enter the model: where the answers are, if there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from selfsight.instruments.calls import listening
from selfsight.instruments.nest import leaves, rebuilt, rows
from selfsight.instruments.snapshot import same, still

if TYPE_CHECKING:
    from selfsight.case import Case


def outside(case: Case) -> dict[str, Tensor]:
    """The leaves of the frozen batch with one row or more per example that no module of the model is shown, by path.

    The values are another batch's, of the same shape: put in their place they are other answers. A leaf that is the
    same in both batches is left out, as nothing can be told of it.
    """
    batch, other, count = case.batch, leaves(case.other), rows(case.batch)
    if count is None:
        return {}
    model = case.model()
    before = entering(case, model, batch)
    found = {}
    for path, leaf in leaves(batch).items():
        new = other.get(path)
        if not leaf.ndim or new is None:
            continue
        if new.shape != leaf.shape or same(new, leaf):
            new = leaf.roll(1, 0)
        if same(new, leaf):
            continue
        after = entering(case, model, rebuilt(batch, {path: new}))
        if len(before) == len(after) and all(map(same, before, after)):
            found[path] = new
    return found


def entering(case: Case, model: nn.Module, batch: Any) -> list[Tensor]:
    """Every tensor that a module of the model is given in the loss of a batch, in order."""
    with still(model), torch.no_grad(), listening(model, keep=True) as calls:
        case.loss(model, batch)
    return [tensor for call in calls for tensor in leaves(call.inputs).values()]


def answered(case: Case) -> bool:
    """Whether the loss reads anything that the model is not shown."""
    answers = outside(case)
    if not answers:
        return False
    model = case.model()
    return case.value(model, rebuilt(case.batch, answers)) != case.value(model, case.batch)
