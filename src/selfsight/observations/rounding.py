"""Whether an optimizer's updates survive the precision of the weights, told beside a float64 copy of them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from selfsight.case import Case, Trial
from selfsight.instruments.snapshot import same
from selfsight.observations.motion import Motion, filled, tensors_of

AGAIN = 100
"""Steps that an optimizer is made to take with one gradient, to see whether small ones add up: with compensated sums,
master weights or stochastic rounding they do."""


def changing(motion: Motion) -> float:
    """The share of elements of held tensors with gradients that differ after the own steps."""
    names = [name for name in motion.held if motion.graded[name] and name in motion.first]
    total = sum(motion.first[name].numel() for name in names)
    moved = [name for name in names if not same(motion.first[name], motion.last[name])]
    return sum(int((motion.first[name] != motion.last[name]).sum()) for name in moved) / total if total else 1.0


def lost(case: Case, motion: Motion) -> float:
    """The share of elements that stay as they are while one gradient, applied again and again, moves their float64 copy
    (at all, where none changed in the own steps either; else further than their precision hides). 0 where nothing can
    be told."""
    trial = case.begin()
    case.guarded("backward", case.loss(trial.model, case.batch).backward, seed=None)
    parameters = trial.model.named_parameters()
    gradients = {name: p.grad.clone() for name, p in parameters if p.grad is not None and filled(p.grad)}
    try:
        exact = copy.deepcopy(trial.model).double()
        twin = Trial(exact, case.call("optimizer", exact))
        if {id(t) for t in tensors_of(twin.optimizer)}.isdisjoint(id(t) for t in exact.parameters()):
            return 0.0
        moved, due = _pushed(case, trial, gradients), _pushed(case, twin, gradients)
    except Exception:  # a copy may not be possible, or the optimizer may want more than gradients
        return 0.0
    stayed = total = 0
    for name, gradient in gradients.items():
        (before, after), (start, end) = moved[name], due[name]
        hides = 2 * torch.finfo(before.dtype).eps * before.abs().double() if motion.moved else torch.zeros(())
        stayed += int((((end - start).abs() > hides) & (before == after)).sum())
        total += gradient.numel()
    return stayed / total if total else 0.0


def _pushed(case: Case, trial: Trial, gradients: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """(before, after) of each tensor, when its optimizer steps with these gradients."""
    parameters = {name: p for name, p in trial.model.named_parameters() if name in gradients}
    before = {name: p.detach().clone() for name, p in parameters.items()}
    for _ in range(AGAIN):
        for name, parameter in parameters.items():
            parameter.grad = gradients[name].to(parameter)
        case.guarded("optimizer.step", trial.optimizer.step, seed=None)
    return {name: (before[name], p.detach()) for name, p in parameters.items()}
