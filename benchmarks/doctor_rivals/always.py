"""Says "faulty" of everything. On a benchmark without healthy programs it is hard to beat."""

from __future__ import annotations

from doctor_rivals.trace import Trace
from selfsight.program import Program


def judge(program: Program, trace: Trace) -> list[str]:
    """One alarm, whatever the trace."""
    return ["faulty"]
