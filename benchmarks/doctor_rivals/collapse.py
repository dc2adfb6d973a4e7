"""The two numbers by which collapse of a self-supervised net is usually told, each alone; both abstain without `embed`.

Feature spread: the mean standard deviation, per dimension, of embeddings of length 1, times sqrt(D). Healthy is near 1, a collapsed
net 0 (Chen and He 2021); lightly prints one minus it as the collapse level. No threshold is published: the alarm is at half.
RankMe: the exponential of the entropy of the singular values, uncentred (Garrido et al. 2023). Its authors only compare runs of
one method; the alarm is at a tenth of the most that N embeddings of D numbers can have, the usual reading of "most of it is
unused". `spread` and `rank_share` give the numbers themselves, so that any other threshold can be tried.

Shapes: N embeddings, D numbers each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from doctor_rivals.trace import Trace
from selfsight.program import Program

LEAST_SPREAD = 0.5
LEAST_RANK_SHARE = 0.1


def spread(z: Tensor) -> float:
    """sqrt(D) times the mean standard deviation of the rows of z (N, D) brought to length 1."""
    return float(F.normalize(z, dim=1).std(0, correction=0).mean() * z.shape[1] ** 0.5)


def rank_share(z: Tensor) -> float:
    """RankMe of z (N, D) over min(N, D)."""
    values = torch.linalg.svdvals(z.double())
    shares = values / values.sum().clamp(min=1e-300) + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum())) / min(z.shape)


def judge_spread(program: Program, trace: Trace) -> list[str]:
    """Alarms where the feature spread is below half of the ideal."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    if trace.embedding is None:
        return []
    value = spread(trace.embedding)
    return [] if value >= LEAST_SPREAD else [f"feature spread {value:.2f}"]


def judge_rank(program: Program, trace: Trace) -> list[str]:
    """Alarms where RankMe is below a tenth of what is possible."""
    if trace.error is not None:
        return [f"raised {trace.error}"]
    if trace.embedding is None:
        return []
    value = rank_share(trace.embedding)
    return [] if value >= LEAST_RANK_SHARE else [f"RankMe at {value:.2f} of its most"]
