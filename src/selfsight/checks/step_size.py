"""O403: are the steps too long, or too short?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Reach
from selfsight.observations.motion import drawn, watched
from selfsight.observations.rates import STEPS, STREAM, Run, run, streamed
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
Measured = Callable[[Case, float], list[float]]
"""(case, factor of the rate) -> losses of the two frozen batches after steps at that rate."""


@dataclass(frozen=True)
class StepSize(Check):
    """A rate is right or wrong only by what it does to this loss, so other rates are tried.

    Detected: MEASURED too large: after 60 own steps (or 40 on a frozen batch, where these only raise its loss) two
    frozen batches are no better off than with a constant answer, and the very same steps at a tenth of the rate, or
    less, bring both a good way on. MEASURED too small: 40 own steps on each of two frozen batches gain so little that
    ten times the planned steps would not do, for weights that were drawn, not loaded, and the same steps at ten times
    the rate, or more, gain a good part of the way on both.
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
        frozen = [run(case, batch) for batch in (case.batch, case.other)]
        own = [made for made in frozen if made is not None]
        if len(own) < 2:
            raise DoesNotApply("the loss is not finite before any step")
        if all(not start > end for start, end in own):
            yield from self._too_large(case, _fitted, max(rates), f"{STEPS} own steps on a frozen batch")
            return
        found = list(self._too_small(case, own, max(rates))) if drawn(case) and _slow(case, own) else []
        yield from found or self._too_large(case, streamed, max(rates), f"{STREAM} own steps")

    def _too_large(self, case: Case, measured: Measured, rate: float, steps: str) -> Iterator[Finding]:
        """The first tenth of the rate at which the same steps come a good way further, on both batches."""
        own = _progress(case, measured(case, 1.0))
        if not all(value <= LITTLE for value in own):
            return
        for power in POWERS[:4]:
            better = _progress(case, measured(case, 10.0**-power))
            if all(value > max(LITTLE, one) + GAIN for value, one in zip(better, own, strict=True)):
                said = (
                    f"After {steps} at a rate of {rate:g} progress is {own[0]:.3g}, where 0 is a constant answer and 1 "
                    f"the best; after as many at {rate * 10.0**-power:g} it is {better[0]:.2f}."
                )
                yield self._finding(case, "rate-too-large", said, rate, -power, [*own, *better], (own[0], better[0]))
                return

    def _too_small(self, case: Case, own: list[Run], rate: float) -> Iterator[Finding]:
        """The nearest power of ten times the rate at which the same steps come a good way, on both batches."""
        frozen, planned = (case.batch, case.other), case.program.planned_steps
        for power in POWERS:
            ends = list[float]()
            for which, batch in enumerate(frozen):
                made = run(case, batch, 10.0**power)
                if made is None or not (made[1] < made[0] and _gained(case, which, made) > GAIN):
                    break
                ends.append(made[1])
            gains = [(start - end, start - best) for (start, end), best in zip(own, ends, strict=False)]
            if len(ends) == 2 and (planned is not None or all(mine < HOPELESS * best for mine, best in gains)):
                (start, end), better = own[0], rate * 10.0**power
                said = (
                    f"At its rate of {rate:g}, {STEPS} own steps take a frozen batch's loss from {start:.6g} to "
                    f"{end:.6g}; at {better:g} the same steps bring it to {ends[0]:.4g}."
                )
                yield self._finding(case, "rate-too-small", said, rate, power, [start, end, ends[0]])
                return

    def _finding(
        self,
        case: Case,
        cause: str,
        sentence: str,
        rate: float,
        power: int,
        evidence: list[float],
        tried: tuple[float, float] | None = None,
    ) -> Finding:
        better = rate * 10.0**power
        return Finding(
            code=self.code, grade=Grade.MEASURED, component="optimizer", cause=cause, sentence=sentence,
            cure=f"Try a rate near {better:g}.", place=of_code(case.program.optimizer, "optimizer"),
            evidence={"rate": rate, "better_rate": better, "measured": evidence},
            tried=(f"a rate of {better:g}", *tried) if tried else None,
        )  # fmt: skip

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


def _fitted(case: Case, factor: float) -> list[float]:
    """Where the losses of the two frozen batches end, each fitted by itself."""
    return [made[1] if (made := run(case, batch, factor)) else math.inf for batch in (case.batch, case.other)]


def _progress(case: Case, losses: list[float]) -> list[float]:
    """Progress on the two frozen batches; nan where the loss has no scale."""
    found = []
    for batch, loss in zip((case.batch, case.other), losses, strict=True):
        scale = case.scaled(batch)[0]
        found.append(scale.progress(loss) if isinstance(scale, Reach) else math.nan)
    return found


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
