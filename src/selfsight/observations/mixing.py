"""The first step of a forward pass that mixes examples which its inputs keep apart, and of what kind it is.

Shapes: N examples; M numbers of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.dependence import Event, Ownership, Runs
from selfsight.instruments.examples import DEPTH, Run, Study, Undividable, along
from selfsight.instruments.snapshot import same

UNIT = 1e-4
"""How near to 1 a length or a sum has to be; a thousand float32 numbers are off by less."""
Pattern = Literal["whole", "columns", "centred", ""]
"""What was made 1: the length of the whole tensor, or of each number over the batch. Centred: each number has mean 0
over the batch, as after batch norm."""
RESHAPES = {"view", "reshape", "unflatten", "view_as", "reshape_as", "as_strided"}
"""Functions that only read the same numbers in other rows."""


@dataclass
class Mixing:
    """One step whose output mixes examples that its inputs keep apart."""

    event: Event
    owned: Ownership
    pattern: Pattern
    direct: bool
    """Whether nothing but parts of examples went in; else a summary over the batch did, too."""
    twin: bool
    """Whether it also puts out a tensor of the same shape in which the examples are apart."""


def mixing(case: Case, run: Run) -> tuple[Mixing, Mixing] | None:
    """The first step that mixes, and the innermost in it; None where none does, or where it is meant: by other draws
    other examples are mixed, or the examples lie along the second axis. Raises Undividable.
    """
    study = Study(case.model(), run, case.batches)
    outer = _first(study.runs())
    if outer is None or _differs(study, outer) or _keeps_other_axis(case, run):
        return None
    inner, opened = outer, set(study.opened)
    for _ in range(DEPTH):
        if inner.event.number < 0:
            break
        opened.add(inner.event.number)
        deeper = _first(study.runs(opened), inside=True)
        if deeper is None:
            break
        inner = deeper
    return outer, inner


def _differs(study: Study, found: Mixing) -> bool:
    """Whether other random draws mix other examples."""
    other = _first(study.runs(seed=1))
    if other is None or other.owned.matrix is None or found.owned.matrix is None:
        return True
    return not torch.equal(other.owned.matrix > 0, found.owned.matrix > 0)


def _keeps_other_axis(case: Case, run: Run) -> bool:
    """Whether all is well if the examples lie along the second axis: sequences come with time first."""
    if (along(case.batches[0], 1) or 0) < 3:
        return False
    try:
        return _first(Study(case.model(), run, case.batches, axis=1).runs()) is None
    except Undividable:
        return False


def _first(runs: Runs, inside: bool = False) -> Mixing | None:
    """The first step that mixes; between modules, only what no one means to do counts."""
    for number, event in enumerate(runs.base):
        ins = [owned.kind for owned in runs.kinds(number, "inputs").values()]
        if "mixed" in ins or "unknown" in ins:
            continue
        outs = runs.kinds(number, "outputs")
        for path, owned in outs.items():
            if owned.kind != "mixed":
                continue
            pattern = _pattern(event.outputs[path], owned.axis)
            apart = [event.outputs[other].shape for other, one in outs.items() if one.kind == "clean"]
            direct = not {"summary", "pairs"} & set(ins)
            found = Mixing(event, owned, pattern, direct, event.outputs[path].shape in apart)
            if inside or event.number >= 0 or _no_one_means(runs, number, found, path):
                return found
    return None


def _no_one_means(runs: Runs, number: int, found: Mixing, path: str) -> bool:
    """Whether a function between modules mixes examples in a way that has no use there."""
    event = found.event
    if not event.graded:
        return False
    if event.name in RESHAPES:
        return found.owned.torn and not found.owned.swapped
    tensor = event.outputs[path]
    wide = tensor.ndim > 1 and tensor.shape[found.owned.axis] < tensor.numel()
    return found.pattern in ("whole", "columns") and wide and not _summed_up(runs, number, tensor)


def _summed_up(runs: Runs, number: int, tensor: Tensor) -> bool:
    """Whether a later product sums the tensor over the batch, as correlations between features do."""
    held = [tensor]
    for later in range(number + 1, len(runs.base)):
        event = runs.base[later]
        if not any(same(one, given) for given in event.inputs.values() for one in held):
            continue
        for path, output in event.outputs.items():
            if output.numel() == tensor.numel():
                held.append(output)
            elif runs.owned(later, "outputs", path).kind == "summary" and output.numel() > 1:
                return True
    return False


def _pattern(tensor: Tensor, axis: int) -> Pattern:
    values = tensor.double().movedim(axis, 0).flatten(1) if tensor.ndim > 1 else tensor.double()[:, None]
    if not bool(values.isfinite().all()) or len(values) < 2:
        return ""
    spread = values.std(0, correction=0)
    lengths = values.norm(dim=0)
    if bool((values.mean(0).abs() <= UNIT * spread.clamp_min(1e-12)).all()) and bool((spread > 0).any()):
        return "centred"
    if abs(float(values.norm()) - 1) < UNIT:
        return "whole"
    shares = values if bool((values >= 0).all()) else values.exp() if bool((values <= 0).all()) else 0 * values
    ones = (lengths > 0) & (spread > 0)
    if bool(ones.any()) and bool(((lengths - 1).abs() < UNIT)[ones].all()):
        return "columns"
    return "columns" if bool(((shares.sum(0) - 1).abs() < UNIT).all()) else ""
