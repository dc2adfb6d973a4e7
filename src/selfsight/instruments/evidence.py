"""The tests behind MEASURED findings: exact, paired, without assumptions on how numbers are distributed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

SURE = 1e-3
"""The p below which a finding is MEASURED. With some thirty checks a healthy program is then alarmed in 3 % of cases at
most by chance (32 x 1e-3)."""


def sign_p(successes: int, trials: int) -> float:
    """The chance of at least so many successes in fair coin tosses."""
    from scipy.stats import binomtest  # late: every start would pay for it

    return float(binomtest(successes, trials, alternative="greater").pvalue) if trials else 1.0


def less_p(ones: Sequence[float], others: Sequence[float]) -> float:
    """Wilcoxon's signed-rank test that `ones` are less than the `others` they are paired with -> p."""
    differences = [one - other for one, other in zip(ones, others, strict=True)]
    if not any(differences):
        return 1.0
    from scipy.stats import wilcoxon  # late: every start would pay for it

    return float(wilcoxon(differences, alternative="less").pvalue)


def permutation_p(statistic: Callable[[torch.Tensor], float], count: int, times: int = 2000, seed: int = 0) -> float:
    """The share of re-pairings whose statistic is at least the given pairing's.

    statistic(order) takes a permutation (count,) of the second partners; the given pairing is 0..count-1.
    """
    drawn = torch.Generator().manual_seed(seed)
    given = statistic(torch.arange(count))
    reached = sum(statistic(torch.randperm(count, generator=drawn)) >= given for _ in range(times))
    return (1 + reached) / (1 + times)


def steadily_falling(losses: Sequence[float]) -> bool:
    """Whether a curve falls far more often than it rises: a sign test over its steps."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    moves = [after - before for before, after in pairwise(finite) if after != before]
    return len(moves) >= 10 and sign_p(sum(move < 0 for move in moves), len(moves)) < SURE
