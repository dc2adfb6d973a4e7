"""The doctor at the side of a training: some checks before the first step, and one look within the first minute.

What is said here is said once, and the training goes on; `--strict` makes it stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from torch import nn

from selfsight.case import Failed, examining
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.checks import CHECKS
from selfsight.doctor.ranking import ranked
from selfsight.doctor.recipes import program_on
from selfsight.instruments.clock import Allowance
from selfsight.instruments.snapshot import same
from selfsight.instruments.tell import tells
from selfsight.maths.gather import alone
from selfsight.recipe import Recipe
from selfsight.task import Constant

BEFORE = ("E601", "L301", "D102")
"""Checks that are worth their seconds before every training: the twin, what the loss can become, what enters. The rate
shows in the first minute. The others are for `selfsight doctor`."""
SECONDS = 15.0
"""No check is begun after this long."""
ENOUGH = 40
"""Steps after which the losses are looked at."""
LATEST = 45.0
"""Seconds after which they are looked at, if there are at least ten."""
FLAT = 0.01
"""A loss that stays this near to the constant answer's, relative, sits on it."""


def preflight(recipe: Recipe, images: np.ndarray, where: np.ndarray, steps: int) -> list[Finding]:
    """What some quick checks find against a recipe, on the images (all, H, W, C) of which it may see `where`."""
    asked: Iterable[Check] = sorted(
        (check for check in CHECKS if check.code in BEFORE), key=lambda check: BEFORE.index(check.code)
    )
    allowed, found = Allowance(SECONDS), list[Finding]()
    with alone(), examining(program_on(recipe, images, where, steps)) as case:  # the others wait for the first step
        for check in asked:
            if allowed.over:
                break
            try:
                found += check.ask(case)
            except (DoesNotApply, Failed):
                continue  # the training itself will tell
    return [finding for finding in ranked(found) if finding.alarms]


@dataclass
class FirstMinute:
    """Watches the first steps of a training and speaks once. `twin` is the part that moves without a gradient."""

    constant: Constant
    examples: int
    twin: nn.Module | None = None
    losses: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    done: bool = False

    def __post_init__(self) -> None:
        self.before = [value.detach().clone() for value in self.twin.parameters()] if self.twin else []

    def look(self, loss: float) -> list[Finding]:
        """What there is to say after one more step; nothing before it is time, and nothing ever after."""
        self.losses.append(loss)
        late = time.monotonic() - self.began > LATEST and len(self.losses) >= 10
        if self.done or not (late or len(self.losses) >= ENOUGH):
            return []
        self.done = True
        return [finding for finding in (self._sits(), self._stands()) if finding]

    def _sits(self) -> Finding | None:
        """The loss has come no further than the best constant answer's, or not even there."""
        if self.constant.optimal:
            return None
        half = len(self.losses) // 2
        now = fmean(self.losses[half:])
        near = abs(now - self.constant.loss) <= FLAT * abs(self.constant.loss)
        if not near and now < self.constant.loss:
            return None
        meaning = tells(now, self.examples, ()) or [self.constant.meaning]
        at = f"sits at {now:.3f} ({meaning[0]})" if near else f"is {now:.3f}"
        return Finding(
            code="L308", grade=Grade.NOTE, component="model", cause="equals-constant",
            sentence=f"After {len(self.losses)} steps the loss {at}, so far no better than the best constant answer's "
            f"{self.constant.loss:.3f}.",
            cure="Give it some more minutes; if it stays, ask `selfsight doctor` about this run: the rate is the first "
            "suspect, then the views.",
        )  # fmt: skip

    def _stands(self) -> Finding | None:
        """No bit of the twin has changed."""
        if self.twin is None or any(
            not same(now.detach(), then) for now, then in zip(self.twin.parameters(), self.before, strict=True)
        ):
            return None
        return Finding(
            code="E601", grade=Grade.PROVEN, component="teacher", cause="teacher-never-moves",
            sentence=f"After {len(self.losses)} steps no bit of the momentum twin has changed.",
            cure="Lower the momentum below 1, and see that after_step moves the twin.",
        )  # fmt: skip


def said(findings: list[Finding]) -> str:
    """The findings as lines for the screen, without markup."""
    return "\n".join(f"{f.grade} {f.code} {f.component}: {f.sentence}\n  cure: {f.cure}" for f in findings)


def recorded(findings: list[Finding]) -> list[dict[str, str]]:
    """The findings as a run keeps them."""
    return [
        {"code": f.code, "grade": str(f.grade), "sentence": f.sentence, "cure": f.cure, "cause": f.cause}
        for f in findings
    ]
