"""A program's planned epochs without their steps: what `between_epochs` does to rates and to what may be trained."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass, field

from selfsight.case import Case, Trial
from selfsight.instruments.clock import Allowance
from selfsight.observations.motion import quietly, rate, regrouped, tensors_of

LONGEST = 1000
"""Epochs at most."""
SECONDS = 3.0


@dataclass
class Epochs:
    """See the module."""

    length: int | None
    """Steps in an epoch; None where a pass does not end soon."""
    planned: int | None
    """Epochs that the planned steps make."""
    rates: list[float] = field(default_factory=list)
    """The rate that each epoch begins with."""
    flagged: bool = False
    """Whether requires_grad of any parameter ever changed."""
    thawed: set[str] = field(default_factory=set)
    """Frozen at the start and trainable at some later epoch."""
    joined: set[str] = field(default_factory=set)
    """In the optimizer at the last epoch that was looked at, and not at the first."""
    outside: set[str] = field(default_factory=set)
    """Trainable at the last epoch, and not in the optimizer."""

    @property
    def complete(self) -> bool:
        """Whether every planned epoch was looked at."""
        return self.planned is not None and len(self.rates) >= self.planned


def length(case: Case) -> int | None:
    """Batches in a pass; None where it does not end within a second."""
    loader = case.guarded("Program.batches", case.program.batches)
    if isinstance(loader, Sized):
        return len(loader)
    allowed = Allowance(1.0)

    def counted() -> int | None:
        number = 0
        for number, _ in enumerate(loader, 1):  # noqa: B007
            if allowed.over:
                return None
        return number

    return case.guarded("Program.batches", counted)


def planned_epochs(case: Case) -> Epochs:
    """Runs `between_epochs` alone, as often as the planned steps call for it; kept with the case."""
    return case.remembered(("epochs",), lambda: _run(case))


def _run(case: Case) -> Epochs:
    steps, long = case.program.planned_steps, length(case)
    found = Epochs(long, math.ceil(steps / long) if steps and long else None)
    trial = case.begin()
    with regrouped(trial.optimizer):
        _through(case, trial, found)
    return found


def _through(case: Case, trial: Trial, found: Epochs) -> None:
    """One step, so that schedules have something to follow, then every planned end of an epoch."""
    with quietly():
        case.step(trial, case.batch)
    model, optimizer = trial.model, trial.optimizer
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before = {id(tensor) for tensor in tensors_of(optimizer)}
    allowed = Allowance(SECONDS)
    for epoch in range(min(found.planned or LONGEST, LONGEST)):
        found.rates.append(rate(optimizer))
        if not case.has("between_epochs") or allowed.over:
            break
        with quietly():
            case.call("between_epochs", model, optimizer, epoch)
        for name, parameter in model.named_parameters():
            found.flagged |= parameter.requires_grad is not flags.get(name)
            if parameter.requires_grad and not flags.get(name, True):
                found.thawed.add(name)
    held = {id(tensor) for tensor in tensors_of(optimizer)}
    for name, parameter in model.named_parameters():
        if id(parameter) in held - before:
            found.joined.add(name)
        if parameter.requires_grad and id(parameter) not in held:
            found.outside.add(name)
