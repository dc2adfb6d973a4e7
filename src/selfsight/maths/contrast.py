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


def triplet(z1: Tensor, z2: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """The triplet loss (Schroff, Kalenichenko, Philbin 2015, equation 2), and how often the partner is nearer.

    z1, z2 (N, P), of any length: they are normalised here. Anchor i's other is the next image's second view; distances
    are squared. -> (loss, accuracy), scalars; equally far counts half.
    """
    z1, z2 = F.normalize(z1.float(), dim=1), F.normalize(z2.float(), dim=1)
    near, far = ((z1 - other).pow(2).sum(1) for other in (z2, z2.roll(-1, 0)))
    right = (near < far).float() + 0.5 * (near == far).float()
    return F.relu(near - far + margin).mean(), right.detach().mean()


def n_pair(z1: Tensor, z2: Tensor, shortness: float = 0.002) -> tuple[Tensor, Tensor]:
    """The multi-class N-pair loss (Sohn 2016, equations 6 and 7), and how often the partner is the most alike.

    z1, z2 (N, P): anchors and positives; the other anchors' positives are the negatives, of all processes together.
    Products are of vectors of any length; `shortness` times their mean squared length keeps them short. -> (loss,
    accuracy), scalars.
    """
    z1, z2 = z1.float(), z2.float()
    everyone = gathered(z2)
    partner = rank() * len(z2) + torch.arange(len(z2), device=z2.device)
    logits = z1 @ everyone.T
    lengths = (z1.pow(2).sum(1) + z2.pow(2).sum(1)).mean()
    accuracy = (logits.detach().argmax(1) == partner).float().mean()
    return F.cross_entropy(logits, partner) + shortness * lengths, accuracy
