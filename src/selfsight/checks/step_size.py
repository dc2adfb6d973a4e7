"""O403: are the steps too long, or too short?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.motion import drawn, watched
from selfsight.instruments.place import of_code
from selfsight.instruments.rates import STEPS, Run, run
from selfsight.instruments.reach import Reach
from selfsight.planted import tiny
from selfsight.program import Program

GAIN = 0.2
"""Of the way from a constant answer to the best one: less is no gain to speak of."""
LITTLE = 0.1
"""Of that way: a run that gains more is not slow."""
POWERS = (1, 2, 3, 4, 5)
"""The rate is divided, or multiplied, by ten so many times."""
HOPELESS = 1e-3
"""Of what a higher rate gains: with no steps planned, only less than that is too little."""


@dataclass(frozen=True)
class StepSize(Check):
    """A rate is right or wrong only by what it does to this loss, so other rates are tried.

    Detected: The program makes 40 of its own steps on a frozen batch, draws replayed. MEASURED too large: the loss ends
    no lower than it began, on two batches, and the very same steps at a tenth of the rate, or less, bring it down on
    both. MEASURED too small: weights that were drawn, not loaded, gain so little that ten times the planned steps would
    not do, and the same steps at ten times the rate, or more, gain a good part of the way, on both.
    Matters: Too long a step jumps out of every valley; too short a one never leaves the start.
    Cure: The rate at which the program was tried instead is in the finding.
    Blind: A rate that is a few times off; rates that suit the start and not the end; programs whose loss has no scale.
    """

    code = "O403"
    title = "Are the steps too long, or too short?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        rates = [value for value in watched(case).rates if value > 0 and math.isfinite(value)]
        if not rates:
            raise DoesNotApply("no optimizer steps at a rate that could be changed")
        own = [made for batch in (case.batch, case.other) if (made := run(case, batch)) is not None]
        if len(own) < 2:
            raise DoesNotApply("the loss is not finite before any step")
        if all(not start > end for start, end in own):
            yield from self._other(case, own, max(rates), -1)
        elif drawn(case) and _slow(case, own):
            yield from self._other(case, own, max(rates), 1)

    def _other(self, case: Case, own: list[Run], rate: float, sign: int) -> Iterator[Finding]:
        """The nearest power of ten times the rate at which the same steps come a good way, on all batches."""
        for power in POWERS:
            ends = list[float]()
            for which, batch in enumerate((case.batch, case.other)):
                made = run(case, batch, 10.0 ** (sign * power))
                if made is None or not _far(case, which, made):
                    break
                ends.append(made[1])
            if len(ends) < 2:
                continue
            gained = [(start - end) for start, end in own]
            hopeless = all(g < HOPELESS * (start - end) for g, (start, _), end in zip(gained, own, ends, strict=True))
            if sign < 0 or case.program.planned_steps is not None or hopeless:
                better, (start, end) = rate * 10.0 ** (sign * power), own[0]
                yield Finding(
                    code=self.code, grade=Grade.MEASURED, component="optimizer",
                    cause="rate-too-small" if sign > 0 else "rate-too-large",
                    sentence=f"At its rate of {rate:g}, {STEPS} own steps take a frozen batch's loss from {start:.6g} "
                    f"to {end:.6g}; at {better:g} the same steps bring it to {ends[0]:.4g}.",
                    cure=f"Try a rate near {better:g}.", place=of_code(case.program.optimizer, "optimizer"),
                    evidence={"rate": rate, "better_rate": better, "start": start, "end": end, "better_end": ends[0]},
                )  # fmt: skip
                return

    def planted(self) -> tuple[Program, Program]:
        def sgd(rate: float) -> Any:
            return lambda net: torch.optim.SGD(net.parameters(), rate)

        return tiny(optimizer=sgd(300.0)), tiny(optimizer=sgd(0.1))


def _gained(case: Case, which: int, made: Run) -> float:
    """How much of the way from a constant answer to the best one a run went; nan where the loss has no scale."""
    scale = case.scaled((case.batch, case.other)[which])[0]
    if not isinstance(scale, Reach) or not scale.wide or scale.free.endless:
        return math.nan
    return (made[0] - made[1]) / (scale.constant.loss - scale.free.loss)


def _far(case: Case, which: int, made: Run) -> bool:
    return made[1] < made[0] and _gained(case, which, made) > GAIN


def _slow(case: Case, own: list[Run]) -> bool:
    """Whether ten times the planned steps would not bring any of the runs to its best answer, at the speed it has."""
    planned = case.program.planned_steps
    for i, made in enumerate(own):
        if _gained(case, i, made) > LITTLE:
            return False
        scale = case.scaled((case.batch, case.other)[i])[0]
        left = max(0.0, 1 - scale.progress(made[0])) if isinstance(scale, Reach) else 0.0
        if planned is not None and not _gained(case, i, made) / STEPS * planned * 10 < left:
            return False
    return True
