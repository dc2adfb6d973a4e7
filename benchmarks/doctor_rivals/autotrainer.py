"""AutoTrainer's rules (Zhang et al., ICSE 2021), from their description, with their thresholds, per window of a trace.

Gradient rules look at the first and the last weight tensor with a gradient and alarm in the first window that breaks them, as the
tool stops there to repair. Rules on accuracy abstain where no accuracy is known. "Not converged" means after the trace's
last step, so a short trace is hard on slow programs.
"""

from __future__ import annotations

import math
from itertools import pairwise

from doctor_rivals.trace import Trace, Window
from selfsight.program import Program

VANISHING_RATIO, VANISHING_NORM = 1e-3, 1e-4
EXPLODING_RATIO = 70.0
DEAD_SHARE = 0.7
OSCILLATION_GAP, OSCILLATION_SHARE = 0.03, 0.2
SLOW_GAIN = 0.01
CONVERGED = 0.6
LARGE_OUTPUT = 10.0
LARGE_LOSS = 1e3
LARGE_WEIGHT = 5.0


def judge(program: Program, trace: Trace) -> list[str]:
    """The alarms of one program's trace."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    alarms: set[str] = set()
    for window in trace.windows:
        alarms.update(_gradients(window))
        if any(call.mean_abs >= LARGE_OUTPUT for call in window.calls):
            alarms.add("abnormal data: a layer's mean absolute output is 10 or more")
    if any(not math.isfinite(loss) or loss > LARGE_LOSS for loss in trace.losses):
        alarms.add("exploding loss: not finite, or above 1000")
    if any(weight.largest > LARGE_WEIGHT for weight in trace.weights.values()):
        alarms.add("large weight: above 5")
    return sorted(alarms | _accuracy(trace))


def _gradients(window: Window) -> set[str]:
    alarms: set[str] = set()
    kernels = [gradient for gradient in window.gradients.values() if gradient.kernel]
    if any(not gradient.finite for gradient in kernels):
        alarms.add("exploding gradient")
    if len(kernels) < 2:
        return alarms
    first, last = kernels[0].norm, kernels[-1].norm
    ratio = first / last if last > 0 else math.inf if first > 0 else 0.0
    if ratio < VANISHING_RATIO and first < VANISHING_NORM:
        alarms.add("vanishing gradient")
    if ratio > EXPLODING_RATIO:
        alarms.add("exploding gradient")
    if sum(gradient.zeros for gradient in kernels) / len(kernels) >= DEAD_SHARE:
        alarms.add("dying ReLU: 70 % of gradient entries are 0")
    return alarms


def _accuracy(trace: Trace) -> set[str]:
    known = [window.accuracy for window in trace.windows if window.accuracy is not None]
    if len(known) < 3:
        return set()
    alarms: set[str] = set()
    if max(after - before for before, after in pairwise(known)) < SLOW_GAIN:
        alarms.add("slow convergence: accuracy never gains .01 in a window")
    held = [window.held_accuracy for window in trace.windows if window.held_accuracy is not None]
    if max([known[-1], *held[-1:]]) < CONVERGED:
        alarms.add("not converged: accuracy below .6")
    turns = [b for a, b, c in zip(known, known[1:], known[2:], strict=False) if (b - a) * (c - b) < 0]
    gaps = [abs(after - before) for before, after in pairwise([known[0], *turns, known[-1]])]
    swings = sum(gap >= OSCILLATION_GAP for gap in gaps) if turns else 0
    if swings / len(known) >= OSCILLATION_SHARE:
        alarms.add("oscillating: accuracy swings by .03 in a fifth of the windows")
    return alarms
