"""The program trained for a while by its own steps, once for all checks that look at what it learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from selfsight.instruments.clock import Allowance
from selfsight.instruments.randomness import replayed
from selfsight.instruments.snapshot import Snapshot
from selfsight.observations.rates import times

if TYPE_CHECKING:
    from selfsight.case import Case, Trial

STEPS = 200
"""Steps at most; small nets on small pictures have learned something by then or do not learn."""
SECONDS = 10.0
"""Of computing, so that a busy machine gives the same training; three times that by the clock."""


def trained(case: Case, steps: int = STEPS, seconds: float = SECONDS) -> Trial:
    """A trial after `steps` of the program's own steps over its own passes, or after `seconds`, or as planned.

    Kept with the case: the second caller gets the first one's. A model that the program hands out again and again may
    have been put back to its start in between; its trained values are put in again.
    """
    memory = case.__dict__.setdefault("_trained", {})
    if steps not in memory:
        trial = case.begin()
        with replayed(0):
            taken = _train(case, trial, min(steps, case.program.planned_steps or steps), seconds)
        memory[steps] = (trial, Snapshot(trial.model), taken)
    trial, snapshot, _ = memory[steps]
    snapshot.restore()
    return trial


def trained_at(case: Case, factor: float, steps: int = STEPS, seconds: float = SECONDS) -> Trial:
    """The same training with every rate multiplied by a factor, as many steps as `trained` made. Not kept."""
    made, trial = steps_taken(case, steps), case.begin()
    with replayed(0), times(factor):
        _train(case, trial, made, seconds)
    return trial


def steps_taken(case: Case, steps: int = STEPS) -> int:
    """How many steps `trained` made."""
    trained(case, steps)
    return int(case.__dict__["_trained"][steps][2])


def _train(case: Case, trial: Trial, steps: int, seconds: float) -> int:
    allowed = Allowance(seconds)
    for number, batch in enumerate(_batches(case, trial), 1):
        case.step(trial, batch, None)
        if number >= steps or allowed.over:
            return number
    return 0


def _batches(case: Case, trial: Trial) -> Iterator[Any]:
    """Pass after pass, with what the program does between them."""
    epoch = 0
    while True:
        passing = case.guarded("Program.batches", lambda: iter(case.program.batches()), seed=None)
        count, end = 0, object()
        while (batch := case.guarded("Program.batches", next, passing, end, seed=None)) is not end:
            count += 1
            yield batch
        if not count:
            return
        if case.has("between_epochs"):
            case.call("between_epochs", trial.model, trial.optimizer, epoch, seed=None)
        epoch += 1
