"""How a momentum twin followed its student while a program's own steps were watched.

`twins` are names in the model: the twin's tensor -> its student's, both of which moved or ought to have.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import torch
from torch import nn

from selfsight.case import Case
from selfsight.instruments.snapshot import same
from selfsight.instruments.twins import due, share
from selfsight.observations.motion import Motion

CLEAR = 1e-2
"""The part of a move that a momentum may leave unexplained: float32 sums are off by 1e-6 and less."""
ROUNDED = 1e-5
"""The part of its largest number that a tensor may be off by rounding."""
DUE = 4.0
"""By so many of its own smallest steps a number should have moved before it is said that it was left behind."""
FEW, LONG = 3, 12
"""Steps in a row in which it follows, and then does not, before it is said that it stopped; a twin that is copied every
so many steps does not follow in each of the first."""

Twins = Mapping[str, str]


def went(motion: Motion, twins: Twins) -> float | None:
    """How much of the way to its student the twin goes in a step, 1 - momentum; None where that explains no move."""
    fits = []
    for mine in twins.keys() & motion.moved:
        targets = (motion.last[twins[mine]], motion.previous[twins[mine]])
        way, rest = share(motion.previous[mine], motion.last[mine], targets)
        fits += [way] * (rest < CLEAR)
    return median(fits) if fits else None


def beyond(motion: Motion, twins: Twins) -> float:
    """Of the twin's numbers that the last step moved, the share that it put outside of what the twin was and what its
    student was before and after it. An average, whatever its weights, lies between.
    """
    outside = total = 0
    for mine, other in twins.items():
        known = torch.stack([motion.previous[mine], motion.previous[other], motion.last[other]])
        low, high, now = known.amin(0), known.amax(0), motion.last[mine]
        rounding = ROUNDED * known.abs().amax()
        moved = (now - motion.previous[mine]).abs()
        spare = rounding + CLEAR * moved
        outside += int(((now < low - spare) | (now > high + spare)).sum())
        total += int((moved > rounding).sum())
    return outside / total if total else 0.0


def left_behind(motion: Motion, twins: Twins, way: float) -> list[str]:
    """The twin's tensors that never moved, though going so much of the way would have shown."""
    late = [mine for mine in twins if mine not in motion.moved]
    return [mine for mine in late if due(motion.last[mine], motion.last[twins[mine]], way, DUE)]


def stopped(motion: Motion, twins: Twins) -> int | None:
    """After how many steps, in each of which it followed, the twin stood still for good while its student went on."""
    follows = [bool(moment.moved & motion.teacher) for moment in motion.moments]
    goes_on = [bool(moment.moved & {*twins.values()}) for moment in motion.moments]
    first = follows.index(False) if False in follows else len(follows)
    if first < FEW or any(follows[first:]) or not all(goes_on[first:]) or len(follows) - first < LONG:
        return None
    return first


def stale_statistics(case: Case) -> int:
    """How many batch statistics the twin has, where none of them changes in one own step; else 0."""
    trial = case.begin()
    norms = [m for m in case.call("teacher", trial.model).modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    buffers = [buffer for norm in norms for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in buffers]
    case.step(trial, case.batches[0])
    return len(buffers) if all(map(same, buffers, before)) else 0
