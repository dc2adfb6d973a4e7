"""The same steps at another rate, whatever sets the rate; and the rates that a schedule inside the step gives."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from selfsight.case import Case
from selfsight.instruments.clock import Allowance
from selfsight.observations.epochs import planned_epochs
from selfsight.observations.motion import quietly, rate, regrouped

STEPS = 40
"""Own steps on a frozen batch."""
STREAM = 60
"""Own steps over batches as they come."""
PASS = 24
"""Batches that these go over, again and again."""
SECONDS = 6.0
"""Of the processor, for one run."""

Run = tuple[float, float]
"""(loss at the start, median loss over the last quarter of the steps)."""


def run(case: Case, batch: Any, factor: float = 1.0, seed: int = 0) -> Run | None:
    """Own steps on one batch with one draw, at a factor times their rate; ends at inf where the loss left the numbers.
    None where it begins so."""
    trial, allowed = case.begin(), Allowance(SECONDS)
    losses = [case.value(trial.model, batch, seed)]
    if not math.isfinite(losses[0]):
        return None
    with times(factor):
        for number in range(1, STEPS + 1):
            case.step(trial, batch, seed=seed)
            if number > STEPS * 3 // 4 or number % 10 == 0:
                losses.append(case.value(trial.model, batch, seed))
                if not math.isfinite(losses[-1]):
                    return losses[0], math.inf
            if allowed.over:
                break
    late = sorted(losses[1:][-STEPS // 4 :])
    return losses[0], late[len(late) // 2] if late else losses[0]


def streamed(case: Case, factor: float = 1.0) -> list[float]:
    """The losses of the two frozen batches after own steps over batches as they come, at a factor times their rate."""
    trial, allowed = case.begin(), Allowance(SECONDS)
    batches = case.remembered(("streamed",), lambda: case.passed(PASS, seed=3))
    with times(factor):
        for number in range(STREAM):
            case.step(trial, batches[number % len(batches)], seed=number)
            if allowed.over:
                break
    losses = [case.value(trial.model, batch) for batch in (case.batch, case.other)]
    return [loss if math.isfinite(loss) else math.inf for loss in losses]


def times(factor: float) -> contextlib.AbstractContextManager[None]:
    """While the block runs, every optimizer steps with its rate times a factor."""
    return _stepping(lambda rate: rate * factor)


def held(rate: float) -> contextlib.AbstractContextManager[None]:
    """While the block runs, every optimizer steps with this rate."""
    return _stepping(lambda _: rate)


@contextlib.contextmanager
def _stepping(change: Callable[[Any], Any]) -> Iterator[None]:
    before: dict[int, list[Any]] = {}

    def scale(optimizer: Optimizer, *_: Any) -> None:
        before[id(optimizer)] = [group.get("lr") for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            if "lr" in group:
                group["lr"] = change(group["lr"])

    def put_back(optimizer: Optimizer, *_: Any) -> None:
        for group, old in zip(optimizer.param_groups, before[id(optimizer)], strict=True):
            if old is not None:
                group["lr"] = old

    handles = [register_optimizer_step_pre_hook(scale), register_optimizer_step_post_hook(put_back)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def followed(case: Case, steps: int) -> list[float]:
    """The rate before each of many own steps on a small batch, epochs ending where they end."""
    length, found, allowed = planned_epochs(case).length, list[float](), Allowance(SECONDS)
    trial = case.begin()
    with regrouped(trial.optimizer), quietly():
        for number in range(steps):
            if allowed.over:
                break
            found.append(rate(trial.optimizer))
            case.step(trial, case.batch, seed=number)
            if length and (number + 1) % length == 0 and case.has("between_epochs"):
                case.call("between_epochs", trial.model, trial.optimizer, number // length)
    return found
