"""The rules of other tools, re-implemented from their descriptions, to be judged on the same programs as the doctor.

Each of RIVALS takes a program and its trace and gives its alarms; none means healthy.
"""

from __future__ import annotations

from collections.abc import Callable

from doctor_rivals import always, autotrainer, collapse, deepdiagnosis, torchtest, umlaut
from doctor_rivals.trace import Trace, record
from selfsight.program import Program

Judge = Callable[[Program, Trace], list[str]]

RIVALS: dict[str, Judge] = {
    "AutoTrainer": autotrainer.judge,
    "DeepDiagnosis": deepdiagnosis.judge,
    "UMLAUT": umlaut.judge,
    "torchtest": torchtest.judge,
    "feature std": collapse.judge_spread,
    "RankMe": collapse.judge_rank,
    "always faulty": always.judge,
}

__all__ = ["RIVALS", "Judge", "Trace", "record"]
