"""Contrastive losses.

Shapes: N images, P projection.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from selfsight.maths.gather import gathered, rank


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """NT-Xent of two views (Chen et al. 2020, equation 1), and how often the partner is the nearest candidate.

    z1, z2 (N, P), of any length: they are normalised here. Each of the 2N views is an anchor; its candidates are the
    other 2N - 1 views, of all processes together. -> (loss, accuracy), scalars.
    """
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    everyone = gathered(z)  # (R * 2N, P), each process's views in one block
    logits = z @ everyone.T / temperature
    own = rank() * 2 * n + torch.arange(2 * n, device=z.device)
    partner = rank() * 2 * n + (torch.arange(2 * n, device=z.device) + n) % (2 * n)
    logits = logits.scatter(1, own[:, None], float("-inf"))
    accuracy = (logits.detach().argmax(1) == partner).float().mean()
    return F.cross_entropy(logits, partner), accuracy


def nt_xent_constant(n: int) -> float:
    """The loss of N pairs when all embeddings are equal: ln(2N - 1)."""
    return math.log(2 * n - 1)
