"""torchtest's idea (after Roberts's mltest): variables that should change do, those that should not do not, outputs are finite.

The package asks its user for an output range and tests none by default. Here floating targets of the outputs' shape tell it: the
rule alarms if no output can lie within theirs; elsewhere it abstains. "Change" is held against the whole trace, not one step, in
favour of programs whose first steps are skipped; a momentum twin may move.
"""

from __future__ import annotations

from doctor_rivals.trace import Trace
from selfsight.program import Program


def judge(program: Program, trace: Trace) -> list[str]:
    """The alarms of one program's trace."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    alarms: list[str] = []
    for name, weight in trace.weights.items():
        if weight.trained and not weight.moved:
            alarms.append(f"{name} does not change")
        if not weight.trained and weight.moved and not weight.twin:
            alarms.append(f"{name} changes, though it is not trained")
        if not weight.finite:
            alarms.append(f"{name} is not finite")
    if trace.outputs is not None:
        if not trace.outputs.finite:
            alarms.append("outputs are not finite")
        wanted = trace.targets
        if wanted is not None and (trace.outputs.low > wanted.high or trace.outputs.high < wanted.low):
            alarms.append("outputs lie outside the targets' range")
    return alarms
