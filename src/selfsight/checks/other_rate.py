"""B803: does another learning rate let it learn?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE, less_p, steadily_falling
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program
from selfsight.streaming import Stream, TooFew, at_rate, streamed, without_decay

FACTORS = (0.1, 0.01, 0.001, 100.0, 1e4)
MEMORISED = 0.3
"""Progress on what was learned from at which the rate is good enough: then it is the labels, or the amount of data."""
GAINED = 0.1
"""Progress on examples kept aside that the other rate has to reach, so that it is worth an alarm."""

CLEARLY = 0.25
"""Progress without weight decay that shows the decay to be the cause: as much as tells learning from not."""


@dataclass(frozen=True)
class OtherRate(Check):
    """A rate can be so large that a frozen batch is fitted by force and nothing else is ever learned.

    Detected: Where some seconds of the program's own training answer examples kept aside no better than a constant, the
    same training is made again with every rate multiplied by 0.1, 0.01, 0.001, 100 and 10,000, and without weight decay
    where there is some; without decay also where a tenth of the way to the best answer is not reached. MEASURED where
    one of these learns (Wilcoxon against the constant, p < 1e-3), without decay a quarter of the way. A larger rate is
    advised only where the program's planned steps would not be enough: slow is not sick.
    Matters: A rate out of place looks like every other fault: the loss sits at the constant answer's.
    Cure: Take the rate that learned, then search around it.
    Blind: Trainings that need more than some hundred steps to begin.
    """

    code = "B803"
    title = "Does another learning rate let it learn?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            own = streamed(case)
        except (TooFew, Unreachable) as why:
            raise DoesNotApply(str(why)) from why
        if own.fitted >= MEMORISED:
            return
        if not own.gained(own.best) >= GAINED:
            bare = without_decay(case)
            if bare and _learns(bare, SURE) and bare.gained(bare.best) >= CLEARLY:
                yield self._decayed(case, own, bare)
                return
        if _learns(own, 0.05 / len(own.aside)):
            return
        for factor in FACTORS:
            if factor > 1 and not _too_few(case, own):
                return
            other = at_rate(case, factor)
            if _learns(other, SURE) and other.gained(other.best) >= GAINED:
                yield self._finding(case, own, other, factor)
                return

    def _finding(self, case: Case, own: Stream, other: Stream, factor: float) -> Finding:
        now, then = own.gained(own.best), other.gained(other.best)
        reached = "" if math.isnan(now) else f" ({now:.2f} of the way to the best answer)"
        cause = "rate-too-large" if factor < 1 else "rate-too-small"
        return Finding(
            code=self.code, grade=Grade.MEASURED, component="optimizer", cause=cause,
            sentence=f"As it is, examples kept aside are answered no better than by a constant{reached}; with its rate "
            f"times {factor:g}, the same training comes to {then:.2f} of the way.",
            cure=f"Multiply the learning rate by {factor:g}, then search around it.",
            place=of_code(case.program.optimizer, "optimizer"),
            evidence={"factor": factor, "progress then": then} | ({} if math.isnan(now) else {"progress now": now}),
            tried=(f"its rate times {factor:g}", now, then),
        )  # fmt: skip

    def _decayed(self, case: Case, own: Stream, bare: Stream) -> Finding:
        then, now = bare.gained(bare.best), own.gained(own.best)
        most = max(float(group.get("weight_decay", 0)) for group in case.begin().optimizer.param_groups)
        return Finding(
            code=self.code, grade=Grade.MEASURED, component="optimizer", cause="weight-decay",
            sentence=f"With its weight decay of {most:g} the training comes to {max(0.0, now):.2f} of the way to the "
            f"best answer on examples kept aside; without, to {then:.2f}.",
            cure="Lower the weight decay; in Adam it enters the gradient, only in AdamW it is apart.",
            place=of_code(case.program.optimizer, "optimizer"),
            evidence={"weight decay": most, "progress then": then, "progress now": now},
            tried=("no weight decay", now, then),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def steep(model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.SGD(model.parameters(), 100.0)

        def many() -> Any:
            return batches(Quarters(192))

        return tiny(optimizer=steep, batches=many), tiny(batches=many)


def _learns(seen: Stream, p: float) -> bool:
    """Whether at any look examples aside were answered better than by a constant."""
    return any(less_p(losses, seen.constant_aside) < p for losses in seen.aside)


def _too_few(case: Case, own: Stream) -> bool:
    """Whether the steps that the program plans would not do at its rate, going by how far those made have come."""
    planned = case.program.planned_steps
    if planned is None:
        return False
    moved = (own.learned[0] - own.learned[-1]) / max(1, own.steps) * planned
    room = own.learned[0] - own.free
    return moved < 0.05 * room or (not steadily_falling(own.learned) and own.steps >= planned)
