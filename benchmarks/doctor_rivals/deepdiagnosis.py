"""DeepDiagnosis's rules (Wardat et al., ICSE 2022), from their description, with their thresholds.

Rules on gradients look at weights of two or more dimensions: a bias before a batch norm has none by nature. "Loss not moving" never abstains; "accuracy not moving" where no accuracy is known; the range of the last layer's outputs is held
against floating targets of their shape only. Activations that run inside one fused call (an LSTM's gates) are not seen.
"""

from __future__ import annotations

import math

from doctor_rivals.calls import RELU, SATURATING
from doctor_rivals.trace import Trace, Window
from selfsight.program import Program

DEAD_SHARE = 0.7
SATURATED_SHARE = 0.5
VANISHING = 1e-7
LEAST_VARIANCE, MOST_VARIANCE = 1e-5, 10.0
UPDATE, UPDATE_FACTOR = 1e-3, 100.0
RANGE_FACTOR = 10.0


def judge(program: Program, trace: Trace) -> list[str]:
    """The alarms of one program's trace."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    alarms = _tensors(trace)
    for window in trace.windows:
        alarms |= _window(window)
    if len(set(trace.losses)) == 1:
        alarms.add("loss not moving")
    known = [window.accuracy for window in trace.windows if window.accuracy is not None]
    if len(known) > 1 and len(set(known)) == 1:
        alarms.add("accuracy not moving")
    if not all(map(math.isfinite, trace.losses)):
        alarms.add("numerical error: the loss is not finite")
    return sorted(alarms)


def _window(window: Window) -> set[str]:
    alarms: set[str] = set()
    for call in window.calls:
        if call.name in RELU and call.not_positive >= DEAD_SHARE:
            alarms.add("dead node: 70 % of a ReLU's outputs are not positive")
        if call.name in SATURATING and call.saturated > SATURATED_SHARE:
            alarms.add("saturated activation")
        if not call.finite:
            alarms.add("numerical error: a layer's output is not finite")
    for gradient in window.gradients.values():
        if not gradient.finite:
            alarms.add("exploding gradient")
        elif gradient.kernel and gradient.mean_abs < VANISHING:
            alarms.add("vanishing gradient: mean below 1e-7")
        if gradient.kernel and not UPDATE / UPDATE_FACTOR <= gradient.update <= UPDATE * UPDATE_FACTOR:
            alarms.add("learning rate: an update is far from a thousandth of the weights")
    return alarms


def _tensors(trace: Trace) -> set[str]:
    """Rules on weights, inputs and outputs."""
    alarms: set[str] = set()
    for weight in trace.weights.values():
        if weight.kernel and not LEAST_VARIANCE <= weight.variance <= MOST_VARIANCE:
            alarms.add("poor weight: variance outside 1e-5 to 10")
        if not weight.moved and weight.trained:
            alarms.add("unchanged weight")
        if not weight.finite:
            alarms.add("numerical error: a weight is not finite")
    if trace.input is not None and not (trace.input.low >= -1 and trace.input.high <= 1):
        alarms.add("input outside -1 to 1")
    if trace.outputs is not None and trace.targets is not None:
        said, wanted = trace.outputs.high - trace.outputs.low, trace.targets.high - trace.targets.low
        if not wanted / RANGE_FACTOR <= said <= wanted * RANGE_FACTOR:
            alarms.add("last layer out of range: a factor of 10 from the targets'")
    return alarms
