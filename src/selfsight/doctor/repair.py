"""The cure tried: the part that the first alarm blames is swapped out, and progress measured before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from selfsight.case import Case, Failed, examining
from selfsight.check import Check, Finding
from selfsight.cures import Cure, cures, judged_on, shown_on, silent, trained
from selfsight.diagnosis import Repair
from selfsight.instruments.clock import Allowance
from selfsight.instruments.evidence import SURE, less_p
from selfsight.instruments.reach import Reach, Unreachable
from selfsight.streaming import constant_loss, constants_of
from selfsight.swap import Swap, Untried, own, restoring

LEAST = 10.0
"""Seconds in which a cure may be begun, however few the checks had."""
GAINED = 0.1
"""Of the way from a constant answer to the best one, by which a short training has to come further."""
FEW = 3
"""Pieces that the least loss of a short training is found on."""


@dataclass(frozen=True)
class _Short:
    """A short training of the program as it is."""

    shown: list[Any]
    """The pieces it is judged on."""
    losses: list[float]
    constant: float
    free: float

    def progress(self, losses: list[float]) -> float:
        room = self.constant - self.free
        return (self.constant - fmean(losses)) / room if room > 0 else math.nan

    def better(self, losses: list[float]) -> bool:
        """Whether these losses are less, beyond chance and by enough."""
        room = self.constant - self.free if self.constant > self.free else abs(fmean(self.losses))
        return less_p(losses, self.losses) < SURE and fmean(self.losses) - fmean(losses) >= GAINED * room


def repaired(case: Case, findings: Sequence[Finding], checks: Sequence[Check], seconds: float) -> Repair | None:
    """What swapping out the first alarm's cause does; None without an alarm, or where nothing could be swapped.

    seconds: no swap is begun after so much work, `LEAST` where that is more.
    """
    allowed = Allowance(max(seconds, LEAST))
    first = next((finding for finding in findings if finding.alarms), None)
    if first is None:
        return None
    if first.tried:
        what, before, after = first.tried
        return Repair(
            component=first.component, swapped=what, on="the check's own trainings", before=before, after=after,
            better=True,
        )  # fmt: skip
    frozen = _frozen(case, first, allowed)
    if frozen and frozen.better:
        return frozen
    check = next((check for check in checks if check.code == first.code and check.quick), None)
    return _retrained(case, first, check, allowed) or frozen


def _frozen(case: Case, first: Finding, allowed: Allowance) -> Repair | None:
    """Frozen batches fitted with one component swapped, where they could not be fitted as it is."""
    before = _own(case)
    if before and before.restored:
        return None
    after = restoring(case, first.component, allowed)
    if after is None:
        return None
    return Repair(
        component=first.component, swapped=after.what, on="frozen batches",
        before=before.progress if before else math.nan, after=after.progress, better=after.restored,
        curve_before=tuple(before.fits[0].progress) if before else (), curve_after=tuple(after.fits[0].progress),
    )  # fmt: skip


def _own(case: Case) -> Swap | None:
    try:
        return own(case)
    except (Untried, Failed, Unreachable, RuntimeError):
        return None


def _retrained(case: Case, first: Finding, check: Check | None, allowed: Allowance) -> Repair | None:
    """The first cure that helps in a short training, or that leaves the check that spoke nothing to say."""
    best: Repair | None = None
    short: _Short | None = None
    for cure in cures(case, first):
        if allowed.over:
            break
        if first.component != "loss":  # another loss has another scale
            short = short or _short(case)
        tried = _tried(case, first, check, cure, short)
        if tried and (best is None or tried.restored):
            best = tried
        if best and best.restored:
            break
    return best


def _short(case: Case) -> _Short | None:
    try:
        shown = shown_on(case)
        losses = judged_on(case, trained(case), shown)
    except (Failed, RuntimeError):
        return None
    return _Short(shown, losses, *_ends(case, shown))


def _ends(case: Case, shown: list[Any]) -> tuple[float, float]:
    """The mean loss over the pieces of a constant answer, and the least there is; nan where they cannot be told."""
    model = case.model()
    try:
        constants, _ = constants_of(case, case.batches)
        constant = fmean(constant_loss(case, model, piece, constants) for piece in shown)
        frees = [case.scaled(piece)[0] for piece in shown[:: max(1, len(shown) // FEW)][:FEW]]
    except (Failed, Unreachable, RuntimeError):
        return math.nan, math.nan
    return constant, fmean(free.free.loss if isinstance(free, Reach) else math.nan for free in frees)


def _tried(case: Case, first: Finding, check: Check | None, cure: Cure, short: _Short | None) -> Repair | None:
    what, program = cure
    with examining(program) as cured:
        try:
            trial = trained(cured)
            losses = judged_on(case, trial, short.shown) if short else []
        except (Failed, RuntimeError):
            return None
        gone = check is not None and silent(cured, check, first.cause)
    return Repair(
        component=first.component, swapped=what, on="a short training",
        before=short.progress(short.losses) if short else math.nan,
        after=short.progress(losses) if short else math.nan,
        better=bool(short and short.better(losses)), silent=gone,
    )  # fmt: skip
