"""O402: do the optimizer's steps land in the weights?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.observations.epochs import planned_epochs
from selfsight.observations.motion import Motion, watched
from selfsight.observations.rates import followed
from selfsight.observations.rounding import changing, lost
from selfsight.planted import tiny
from selfsight.program import Program

WHOLE = 10
"""An epoch of fewer steps may pass at rate 0: a warm-up begins there."""
SHARE = 0.5
"""Of the steps or epochs that were followed, at rate 0."""
LONGEST, LONG = 400, 50
"""Steps for which a schedule inside the step is followed, and those at rate 0 that are no mere pause."""
LOST = 0.15
"""Of all elements: measured on three small nets in bfloat16, 0.001 to 0.01 stand still at a fitting rate, 0.18 to 0.43
at a twentieth of it."""


@dataclass(frozen=True)
class StepLanded(Check):
    """A step can be made and leave no trace.

    Detected: Bits of every weight are compared before and after the program's own steps. PROVEN where gradients are
    there, the rate is above 0 and nothing changes; where the rate is exactly 0 in half of the planned steps or in a
    whole epoch; where many elements stay the same bit for bit although the same optimizer moves a float64 copy of them,
    by the same gradients, further than they can tell apart.
    Matters: The loss printed then is that of the weights as they were drawn, or as an early step left them.
    Cure: Step a schedule as often as its length was meant; keep float32 weights beside low-precision ones.
    Blind: A rate that is tiny but not 0, and schedules behind the steps that are watched.
    """

    code = "O402"
    title = "Do the optimizer's steps land in the weights?"

    def look(self, case: Case) -> Iterator[Finding]:
        motion = watched(case)
        rates, made = motion.rates, len(motion.moments)
        if not rates or not +motion.graded:
            raise DoesNotApply("no optimizer steps with a gradient")
        zero = _zero_steps(case, motion) or _zero_epochs(case)
        if zero:
            code = case.program.between_epochs or case.program.step or case.program.optimizer
            cure = "Step the schedule as often as its length was meant: per epoch, or per batch."
            yield self._finding(code, "rate-zero", zero, cure, {"rates": rates[:50]})
            return
        nowhere = _nowhere(motion)
        stays = lost(case, motion) if changing(motion) < 1 - LOST else 0.0
        if stays > LOST:
            since = f"in {made} own steps none of them changes" if nowhere else f"{stays:.0%} of them never change"
            said = f"The steps are smaller than the weights' numbers can tell apart: {since}."
            cure = "Keep the weights in float32, and compute in half precision under autocast."
            yield self._finding(case.program.optimizer, "lost-updates", said, cure, {"unchanged": stays})
        elif nowhere:
            said = f"In {made} own steps no weight changes, though gradients are there and the rate is {rates[-1]:g}."
            cure = "Look for what puts the weights back, or for an optimizer that works on copies."
            code = case.program.step or case.program.optimizer
            yield self._finding(code, "no-step", said, cure, {"steps": made})

    def _finding(
        self, code: Callable[..., Any], cause: str, sentence: str, cure: str, evidence: dict[str, Any]
    ) -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="loop" if cause == "no-step" else "optimizer", cause=cause,
            sentence=sentence, cure=cure, place=of_code(code, "optimizer"), evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def half() -> nn.Module:
            return _Half()

        sick = tiny(model=half, optimizer=lambda net: torch.optim.SGD(net.parameters(), 1e-6))
        return sick, tiny(model=half, optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.1))


class _Half(nn.Module):
    """A net whose weights are bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.bfloat16()).float()


def _nowhere(motion: Motion) -> bool:
    """Steps were made with gradients at a rate above 0, on all that is held, and nothing moved."""
    fed = [moment for moment in motion.moments if moment.rates and not moment.empty and max(moment.rates) > 0]
    return len(fed) > 1 and not motion.moved


def _zero_steps(case: Case, motion: Motion) -> str | None:
    """A schedule inside the step: is the rate 0 in half of the planned steps, or of a whole first epoch?"""
    rates, planned = motion.rates, case.program.planned_steps
    if not any(value == 0 for value in rates):
        return None
    if all(value == 0 for value in rates):
        epochs = planned_epochs(case)
        if epochs.length is not None and WHOLE <= epochs.length <= len(rates):
            return f"The learning rate is 0 in each of the {epochs.length} steps of the first epoch."
        if planned is not None and len(motion.moments) >= planned:
            return f"The learning rate is 0 in each of the {planned} planned steps."
        return None
    if planned is None or sum(value == 0 for value in rates) < WHOLE // 2:
        return None
    rates = followed(case, min(planned, LONGEST))
    zero = sum(value == 0 for value in rates)
    if zero > SHARE * len(rates) and zero >= min(LONG, SHARE * planned):
        first = rates.index(0.0)
        return f"The learning rate is 0 from step {first} on, in {zero} of {len(rates)} steps, of {planned} planned."
    return None


def _zero_epochs(case: Case) -> str | None:
    """A schedule between epochs: is the rate 0 for half of them?"""
    if not case.has("between_epochs"):
        return None
    epochs = planned_epochs(case)
    zero = sum(value == 0 for value in epochs.rates)
    if epochs.complete and epochs.planned and epochs.planned > 1 and zero > SHARE * epochs.planned:
        return f"The learning rate is 0 in {zero} of the {epochs.planned} planned epochs."
    return None
