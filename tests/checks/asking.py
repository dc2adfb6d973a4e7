"""One check, asked about one program."""

from __future__ import annotations

from selfsight.case import examining
from selfsight.check import Check, DoesNotApply, Finding
from selfsight.program import Program


def found(check: Check, program: Program) -> list[Finding]:
    """What the check says; nothing where it does not apply."""
    with examining(program) as case:
        try:
            return check.ask(case)
        except DoesNotApply:
            return []


def alarming(check: Check, program: Program) -> list[Finding]:
    """What of it is an alarm."""
    return [finding for finding in found(check, program) if finding.alarms]
