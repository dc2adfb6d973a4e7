"""What a batch of one example does to a model's shapes, held against batches of two and of three."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from selfsight.case import KEPT, Case, Failed
from selfsight.instruments.calls import Call, listening
from selfsight.instruments.dependence import without_batch_norm
from selfsight.instruments.examples import part
from selfsight.instruments.nest import leaves, rows
from selfsight.instruments.snapshot import still

ABOUT_SHAPE = re.compile(r"\b(dims?|dimensions?|shapes?|sizes?|out of range|[123]D)\b", re.IGNORECASE)
OF_BATCH_NORM = "value per channel"
"""What batch norm says when it refuses one example, as it should."""
Fate = bool | None
"""Whether the shapes for one example follow from those for two and three; None where that cannot be told."""


@dataclass(frozen=True)
class Alone:
    """The call that a batch of one breaks."""

    call: Call
    two: tuple[int, ...] | None
    """The shape of its output for two examples."""
    one: tuple[int, ...] | None
    """And for one; None where it raised."""
    error: Failed | None

    @property
    def harmless(self) -> bool:
        """Whether one number per example has only become a bare number, and nothing is raised."""
        return self.one == () and self.error is None


def alone(case: Case, run: Callable[[nn.Module, Any], Any]) -> Alone | None:
    """The innermost call that a batch of one breaks, where it breaks what the model puts out."""
    runs = {count: _shapes(case, run, part(case.batches[0], count)) for count in (3, 2, 1)}
    if runs[3][1] is not None or runs[2][1] is not None:
        return None  # it takes only batches of some size
    (one, error), (two, _), (three, _) = runs[1], runs[2], runs[3]
    if [call.name for call in two] != [call.name for call in three]:
        return None
    error = error if error is not None and _about_shape(error) else None
    trios = list(zip(one, two, three, strict=False))
    puts_out = [_follows(*(call.output for call in trio)) if trio[0].output is not None else None for trio in trios]
    was_given = [_follows(*(call.inputs for call in trio)) for trio in trios]
    wrong = [
        i
        for i, call in enumerate(one[: len(trios)])
        if puts_out[i] is False and was_given[i] is not False and not _repaired(one, puts_out, i)
    ]
    if wrong:
        first = min(wrong, key=lambda i: (-one[i].depth, i))
        return Alone(one[first], _shape(two[first]), _shape(one[first]), error)
    broken = [i for i, call in enumerate(one[: len(two)]) if call.output is None]
    if error is not None and broken:
        return Alone(one[broken[-1]], _shape(two[broken[-1]]), None, error)
    return None


def meets_one(case: Case) -> bool:
    """Whether a batch of one example may come up: not where loaders tell that none does, or a whole pass was seen."""
    passes = [case.program.batches] + [given for given in [case.program.validation] if given is not None]
    return any(_may_hold_one(case, given) for given in passes)


def _may_hold_one(case: Case, given: Callable[[], Iterable[Any]]) -> bool:
    batches = case.guarded("Program.batches", given)
    if isinstance(batches, DataLoader) and batches.batch_size is not None:
        try:
            left = len(batches.sampler) % batches.batch_size  # type: ignore[arg-type]
        except TypeError:
            return True
        return batches.batch_size == 1 or (left == 1 and not batches.drop_last)
    if given is case.program.batches and len(case.batches) < KEPT:
        return any(rows(batch) == 1 for batch in case.batches)
    return True


def _shapes(case: Case, run: Callable[[nn.Module, Any], Any], batch: Any) -> tuple[list[Call], Failed | None]:
    """Every call of a module, and what was raised, if anything."""
    model = case.model().eval()
    with still(model), without_batch_norm(), listening(model) as calls, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # batches so small are not the program's own
        try:
            run(model, batch)
        except Failed as error:
            return calls, error
    return calls, None


def _shape(call: Call) -> tuple[int, ...] | None:
    return next((tuple(tensor.shape) for tensor in leaves(call.output).values()), None)


def _follows(one: Any, two: Any, three: Any) -> Fate:
    """See Fate. Tensors without an axis of examples say nothing."""
    said = None
    for path, tensor in leaves(two).items():
        more, single = leaves(three).get(path), leaves(one).get(path)
        if more is None or single is None or more.ndim != tensor.ndim:
            return None
        axes = [axis for axis in range(tensor.ndim) if tensor.shape[axis] != more.shape[axis]]
        if len(axes) != 1 or 2 * more.shape[axes[0]] != 3 * tensor.shape[axes[0]]:
            continue
        wanted = list(tensor.shape)
        wanted[axes[0]] //= 2
        if list(single.shape) != wanted:
            return False
        said = True
    return said


def _repaired(calls: list[Call], puts_out: list[Fate], number: int) -> bool:
    """Whether a call around this one puts out what it should."""
    depth = calls[number].depth
    for i in range(number - 1, -1, -1):
        if calls[i].depth < depth:
            depth = calls[i].depth
            if puts_out[i]:
                return True
    return False


def _about_shape(error: Failed) -> bool:
    said = str(error.error)
    return bool(ABOUT_SHAPE.search(said)) and OF_BATCH_NORM not in said
