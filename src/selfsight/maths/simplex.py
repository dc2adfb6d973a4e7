"""Shares that sum to 1, drawn from a Dirichlet distribution (for two of them a Beta distribution).

Shapes: N examples, S shares.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def draw_shares(n: int, count: int, concentration: float, least: float, generator: Generator) -> Tensor:
    """(N, S) shares, each at least `least`, summing to 1 by rows; the rest is divided Dirichlet(concentration).

    concentration 1 makes every division as likely, more makes equal shares likelier, less unequal ones. On the CPU.
    """
    gamma = torch._standard_gamma(torch.full((n, count), float(concentration)), generator=generator)
    return least + (1 - count * least) * gamma / gamma.sum(1, keepdim=True).clamp_min(1e-20)
