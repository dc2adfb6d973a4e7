"""UMLAUT's heuristics (Schoop et al., CHI 2021), from their description, with their thresholds, for PyTorch.

"No softmax" would hold of nearly every PyTorch program, whose criterion takes logits: here it alarms only where the criterion
notices a number added to all logits of an example and they are no probabilities. "Missing activation" is a layer that gets
another layer's output with nothing non-linear between. The rules on classes and on validation abstain where there are none.
"""

from __future__ import annotations

import math

from doctor_rivals.calls import ACTIVATIONS, SOFT
from doctor_rivals.trace import Trace
from selfsight.program import Program

LARGEST_RATE, LEAST_RATE = 1e-2, 1e-7
DROPOUT = 0.5
TOO_GOOD, TOO_MUCH_BETTER = 0.95, 0.05


def judge(program: Program, trace: Trace) -> list[str]:
    """The alarms of one program's trace."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    alarms = _input(trace) | _model(trace) | _validation(trace)
    if not all(map(math.isfinite, trace.losses)):
        alarms.add("loss not finite")
    if any(rate > LARGEST_RATE for rate in trace.rates):
        alarms.add("learning rate above .01")
    if any(rate < LEAST_RATE for rate in trace.rates):
        alarms.add("learning rate below 1e-7")
    return sorted(alarms)


def _input(trace: Trace) -> set[str]:
    alarms: set[str] = set()
    if trace.input is None or trace.input_shape is None:
        return alarms
    if not trace.input.finite:
        alarms.add("input not finite")
    elif trace.input.low < -1 or trace.input.high > 1:
        alarms.add("input outside -1 to 1")
    if not trace.input_floating:
        alarms.add("input not floating")
    if len(trace.input_shape) == 4 and trace.input_shape[2] != trace.input_shape[3]:
        alarms.add("input not square")
    return alarms


def _model(trace: Trace) -> set[str]:
    alarms: set[str] = set()
    if any(rate > DROPOUT for rate in trace.dropout):
        alarms.add("dropout above .5")
    calls = trace.prediction_calls or (trace.windows[-1].calls if trace.windows else [])
    if any(call.bare for call in calls):
        alarms.add("missing activation between layers")
    if trace.classes is None:
        return alarms
    if not trace.probabilities and not trace.softmax_inside:
        alarms.add("no softmax before the loss")
    if calls and calls[-1].name in ACTIVATIONS - SOFT:
        alarms.add("activation on the last layer")
    return alarms


def _validation(trace: Trace) -> set[str]:
    alarms: set[str] = set()
    for before, after in zip(trace.windows, trace.windows[1:], strict=False):
        if before.held_loss is None or after.held_loss is None:
            continue
        if after.held_loss > before.held_loss and after.loss <= before.loss:
            alarms.add("overfitting: validation loss rises and training loss does not")
    for window in trace.windows:
        if window.accuracy is None or window.held_accuracy is None:
            continue
        if window.held_accuracy > TOO_GOOD or window.held_accuracy > window.accuracy + TOO_MUCH_BETTER:
            alarms.add("validation accuracy too good")
    return alarms
