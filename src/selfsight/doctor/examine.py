"""examine: every check is asked, within a time; what they find is ranked; the cure is tried."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfsight.case import Case, Failed, examining
from selfsight.check import Check, DoesNotApply, Finding
from selfsight.checks import CHECKS
from selfsight.diagnosis import Diagnosis
from selfsight.doctor.drawing import drawn
from selfsight.doctor.ranking import ranked
from selfsight.doctor.repair import repaired
from selfsight.doctor.selftest import unfit
from selfsight.doctor.subject import program_of
from selfsight.doctor.told import told_by
from selfsight.instruments.clock import Allowance
from selfsight.instruments.reach import Unreachable
from selfsight.swap import Untried, own

SECONDS = 60.0
"""How long an examination may take before long checks are left out."""
Said = Callable[[str], None]


@dataclass
class _Asked:
    """What came of asking."""

    findings: list[Finding] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    not_applicable: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)


def examine(
    program: Any,
    data: Any = None,
    *,
    name: str = "",
    seconds: float = SECONDS,
    quick: bool = False,
    checks: Sequence[Check] = CHECKS,
    said: Said | None = None,
) -> Diagnosis:
    """Says whether a program learns, and why not.

    program: a Program; "file.py:name" of one; a recipe, a recipe.json or a run of selfsight's (data: its images, where
    it names none); a Lightning module (data: its training batches); or (model, criterion, batch). seconds: no check is
    begun after so much work, nor a cure after as much again (waiting for others does not count, up to four times as
    long). quick: only checks without training. said: told what is being asked. Nothing of the program is changed.
    Raises UserError where `program` is none of these.
    """
    subject, title = program_of(program, data)
    off = unfit(checks, said)
    began = time.monotonic()
    with warnings.catch_warnings(), examining(subject) as case:
        warnings.simplefilter("ignore")  # the user's own; a program under examination is called in unusual ways
        broken = _broken(case)
        allowed = Allowance(seconds)
        asked = _ask(case, [check for check in checks if check.quick or not quick], allowed, off, said)
        findings = ranked(asked.findings)
        repair = None if quick or allowed.spent > 2 * seconds else repaired(case, findings, checks, seconds)
        progress = None if quick or broken else _progress(case)
        pictures = {} if broken else drawn(case)
        printed = len(case.printed)
    return Diagnosis(
        name=name or title,
        findings=(*findings, *told_by(program)),
        passed=tuple(asked.passed),
        not_applicable=asked.not_applicable,
        skipped=asked.skipped,
        repair=repair,
        progress=progress,
        pictures=pictures,
        printed=printed,
        broken=broken,
        seconds=time.monotonic() - began,
    )


def _broken(case: Case) -> str | None:
    """Why the program cannot be run as it is: its batches, model, loss and one step are tried."""
    try:
        trial = case.begin()
        loss = case.loss(trial.model, case.batches[0])
        if getattr(loss, "numel", lambda: 0)() != 1:
            return f"Program.loss gave {_described(loss)}, not one number. Give a scalar tensor."
        if not math.isfinite(float(loss.detach())):
            return f"the loss of the first batch is {float(loss.detach())}. Look at what enters the loss."
        trial = case.begin()
        case.step(trial, case.batches[0])
    except Failed as failed:
        at = f" at {failed.place.file}:{failed.place.line}" if failed.place.file else ""
        return f"{failed}{at}."
    return None


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} of shape {tuple(shape)}" if shape is not None else type(value).__name__


def _ask(case: Case, checks: Sequence[Check], allowed: Allowance, off: dict[str, str], said: Said | None) -> _Asked:
    asked = _Asked()
    in_turn = sorted(checks, key=lambda check: (not check.quick, not check.narrow))  # should time run out
    for check in in_turn:
        if check.code in off:
            asked.skipped[check.code] = off[check.code]
        elif allowed.over:
            asked.skipped[check.code] = "out of time; give more with --seconds"
        else:
            if said:
                said(check.title)
            _ask_one(case, check, asked)
    codes = [check.code for check in sorted(checks, key=lambda check: not check.quick)]
    asked.findings.sort(key=lambda finding: codes.index(finding.code))
    return asked


def _ask_one(case: Case, check: Check, asked: _Asked) -> None:
    try:
        findings = check.ask(case)
    except DoesNotApply as why:
        asked.not_applicable[check.code] = str(why)
    except Failed as failed:
        asked.not_applicable[check.code] = f"the program failed: {failed}"
        asked.failures.append(failed)
    except Exception as error:  # ours; said, never hidden, and no reason to keep the other answers from the user
        asked.skipped[check.code] = f"the check itself failed: {type(error).__name__}: {error}"
    else:
        asked.findings += findings
        if not any(finding.alarms for finding in findings):
            asked.passed.append(check.code)


def _progress(case: Case) -> float | None:
    try:
        row = own(case)
    except (Untried, Failed, Unreachable, RuntimeError):
        return None
    return row.progress if math.isfinite(row.progress) else None
