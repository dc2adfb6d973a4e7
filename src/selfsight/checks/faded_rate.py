"""O404: does the rate last as long as the training?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.clock import Allowance
from selfsight.instruments.evidence import SURE, less_p
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.observations.motion import quietly, rate
from selfsight.observations.rates import PASS, SECONDS, followed, held
from selfsight.planted import Quarters, batches, loss, tiny
from selfsight.program import Program
from selfsight.streaming import pieces

FAINT = 1e-3
"""Of its highest, below which a rate moves next to nothing in as many steps again."""
LONGEST = 400
"""Steps for which a schedule inside the step is followed."""
HALF = 0.5
"""Of the planned steps: a rate that is faint for less than half of them is a schedule's end."""
LEAST, MOST = 11, 24
"""Pieces of batches kept aside: with fewer, Wilcoxon's test cannot reach p < 1e-3; more cost time."""
GAINED = 0.1
"""Of the way to the best answer, that the steps after it have to gain at the full rate, so that the fading did harm."""


@dataclass(frozen=True)
class FadedRate(Check):
    """A schedule that was meant to be stepped once an epoch ends a training early when it is stepped with every batch.

    Detected: The rate is followed through the program's own steps. Where it falls below 1/1,000 of its highest before
    half of the planned steps and stays there, the training is made up to that step, and then as many steps again with
    the rate held at its highest. MEASURED where these lower the loss on batches kept aside (Wilcoxon, p < 1e-3), by a
    tenth of the way to the best answer or more.
    Matters: The loss flattens as if all were learned, while nothing is being learned any more.
    Cure: Step the schedule once an epoch, or give it the length of the training in steps.
    Blind: Schedules between epochs, plans that are not given, and a rate that fades after the first 400 steps.
    """

    code = "O404"
    title = "Does the rate last as long as the training?"
    needs = ("step", "planned_steps")
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        planned = case.program.planned_steps or 0
        early = _early(case)
        rates = followed(case, min(planned, LONGEST)) if early else []
        low = next((i for i, one in enumerate(rates) if one < FAINT * max(rates)), len(rates))
        if not rates or low > HALF * planned or max(rates[low:], default=1.0) >= FAINT * max(rates):
            return
        try:
            then, after = _kept_up(case, rates, low)
        except Unreachable as why:
            raise DoesNotApply(str(why)) from why
        gained = sum(then) / len(then) - sum(after) / len(after)
        if less_p(after, then) < SURE and gained >= GAINED:
            yield Finding(
                code=self.code, grade=Grade.MEASURED, component="optimizer", cause="rate-fades",
                place=of_code(case.program.step or case.program.optimizer, "step"),
                sentence=f"The learning rate is below 1/1,000 of its highest from step {low} of {planned} planned on; "
                f"held up, it goes on learning, another {gained:.2f} of the way to the best answer.",
                cure="Step the schedule once an epoch, or give it the length of the training in steps.",
                evidence={"step": low, "planned": planned, "gained": gained, "rates": rates[:50]},
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def fading(share: float) -> Any:
            def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
                optimizer.zero_grad()
                loss(model, batch).backward()
                optimizer.step()
                for group in optimizer.param_groups:
                    group["lr"] *= share

            return step

        def slow(model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.Adam(model.parameters(), 3e-3)

        def many() -> Any:
            return batches(Quarters(400))

        sick = tiny(step=fading(0.75), optimizer=slow, batches=many, planned_steps=100)
        return sick, tiny(step=fading(0.98), optimizer=slow, batches=many, planned_steps=100)


def _early(case: Case) -> bool:
    """Whether the rate falls quickly enough to be faint by half of the planned steps, going by the first few."""
    planned, trial = case.program.planned_steps or 0, case.begin()
    rates = [rate(trial.optimizer)]
    for number in range(4):
        case.step(trial, case.batch, seed=number)
        rates.append(rate(trial.optimizer))
    falling = 0 < rates[-1] < rates[1]
    return falling and (rates[-1] / rates[1]) ** (HALF * planned / 3) < FAINT


def _kept_up(case: Case, rates: list[float], low: int) -> tuple[list[float], list[float]]:
    """Losses of examples that were not trained on, after own steps up to `low`, and after as many again whose rate is
    held at its highest; in units of the way from a constant to the best answer. `rates` are those of `followed`.

    Raises Unreachable where that way cannot be told.
    """
    batches, scale = case.remembered(("kept up",), lambda: case.passed(PASS, seed=4)), case.scale
    cut = max(1, len(batches) * 2 // 3)
    train, aside = batches[:cut], [piece for batch in batches[cut:] for piece in pieces(batch)][:MOST]
    if isinstance(scale, Unreachable):
        raise scale
    if len(aside) < LEAST or not scale.wide or scale.free.endless:
        raise Unreachable("there are too few examples to keep some aside, or nothing to learn")
    room, trial, allowed = scale.constant.loss - scale.free.loss, case.begin(), Allowance(SECONDS)
    then = list[float]()
    with quietly():
        for number in range(min(2 * low, len(rates))):
            if number == low:
                then = [case.value(trial.model, piece) / room for piece in aside]
            with held(max(rates)) if number >= low else nullcontext():
                case.step(trial, train[number % cut], seed=number)
            if allowed.over and then:
                break
    return then, [case.value(trial.model, piece) / room for piece in aside]
