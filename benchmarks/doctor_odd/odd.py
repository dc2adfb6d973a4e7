"""What a healthy but odd program is, and how it is shown to be healthy.

A rule that looks at magnitudes of losses, gradients or weights calls such a program sick. It is not: after a short
training by its own step, its metric on held-out data stands above a baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from doctor_odd.training import kept_randomness, train
from selfsight.program import Program


@dataclass(frozen=True, kw_only=True)
class Odd:
    """One healthy program that looks sick."""

    id: str
    """H01 ... : its place in the list."""
    name: str
    program: Callable[[], Program]
    why: str
    """What looks sick about it, and why it is none."""
    metric: Callable[[nn.Module], float]
    """The trained model -> what its owner cares for, on held-out data; higher is better."""
    baseline: float | Callable[[nn.Module], float]
    """What chance or the best constant reaches, or a function of a fresh model, where the metric itself has no chance."""
    steps: int
    """Calls of the program's step after which the metric must stand above the baseline."""

    def fresh(self, seed: int = 0) -> nn.Module:
        """The model before any step."""
        with kept_randomness(seed):
            return self.program().model()

    def score(self, seed: int = 0) -> float:
        """The metric after `steps` steps."""
        return measured(self.metric, train(self.program(), self.steps, seed), seed)

    def floor(self, seed: int = 0) -> float:
        """The baseline as a number."""
        if isinstance(self.baseline, float | int):
            return float(self.baseline)
        return measured(self.baseline, self.fresh(seed), seed)


def measured(metric: Callable[[nn.Module], float], model: nn.Module, seed: int = 0) -> float:
    """The metric of a model in eval mode, without gradients, with random draws of its own."""
    model.eval()
    with torch.no_grad(), kept_randomness(seed + 1):
        return float(metric(model))
