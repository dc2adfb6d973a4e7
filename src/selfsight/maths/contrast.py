"""Contrastive losses.

Shapes: N images, V pictures of each, P projection.
"""

from __future__ import annotations

import math
from typing import Literal

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


Form = Literal["each", "sum"]
"""How several positives enter the loss: each for itself, or their sum."""


def multi_positive(z: Tensor, temperature: float, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Every picture of an image finds every other one of it (Khosla et al. 2020, "Supervised Contrastive Learning",
    equation 2, with the image for the class): the mean over positives of minus the log-softmax.

    z (N, V, P), of any length: they are normalised here. Each of the N V pictures is an anchor, its positives are the
    V - 1 others of its image, its candidates all others, of all processes together. weight (N, V), above 0: a pair
    counts by the product of both its pictures'. With V = 2 and no weights, `nt_xent`. -> (loss, share of anchors whose
    nearest candidate is of their image), scalars.
    """
    v = z.shape[1]
    logits, own = _logits(z, temperature)
    logits = logits.scatter(1, own[:, None], float("-inf"))
    partners = _of_one_image(own, v)
    others = partners != own[:, None]
    surprise = -logits.log_softmax(1).gather(1, partners).masked_fill(~others, 0.0)
    counts = others.float()
    if weight is not None:
        weight = weight.to(z.device)
        counts = counts * weight.repeat_interleave(v, 0) * weight.reshape(-1, 1)
    total = gathered(counts.sum().reshape(1)).mean()
    nearest = logits.detach().argmax(1)
    accuracy = (nearest[:, None] == partners).any(1).float().mean()
    return (surprise * counts).sum() / total, accuracy


def summed_positive(z: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A multi-positive loss with its log outside: minus the log of an image's share, the exponentials of all products
    of its V pictures, each with itself too, over those of its pictures with all.

    Not for use: what a picture has in common with itself is always the most it can have, exp(1 / temperature), so that
    the sum is near its greatest value and its slope near none, however unlike the other pictures are. With two images,
    temperature 0.1 and every picture at a right angle to every other the loss is 0.0002, where `multi_positive` says
    ln 3. Kept to show that. z (N, V, P) -> (loss, accuracy) as there.
    """
    v = z.shape[1]
    logits, own = _logits(z, temperature)
    partners = _of_one_image(own, v)
    same = logits.gather(1, partners).reshape(-1, v * v).logsumexp(1)
    every = logits.reshape(-1, v * logits.shape[1]).logsumexp(1)
    nearest = logits.detach().scatter(1, own[:, None], float("-inf")).argmax(1)
    return (every - same).mean(), (nearest[:, None] == partners).any(1).float().mean()


def multi_positive_constant(n: int, v: int, form: Form = "each") -> float:
    """The loss of N images with V pictures each when all embeddings are equal: ln(N V - 1), of the sum ln N."""
    return math.log(n * v - 1) if form == "each" else math.log(n)


def farthest(z: Tensor, with_first: bool = False) -> Tensor:
    """The two least alike of each image's pictures: z (N, V, D) of length 1 -> (N, 2) int64, the lesser place first.

    with_first: one of both is the first picture. Of equally unlike pairs, that which is named first.
    """
    alike = z @ z.transpose(1, 2)
    v = alike.shape[1]
    first, second = torch.triu_indices(v, v, 1, device=z.device)
    if with_first:
        first, second = first[: v - 1], second[: v - 1]
    which = alike[:, first, second].argmin(1)
    return torch.stack([first[which], second[which]], 1)


def _logits(z: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(N V, R N V) cosines over the temperature, and the place of each picture among all (N V,)."""
    z = F.normalize(z.float().flatten(0, 1), dim=1)
    everyone = gathered(z)
    return z @ everyone.T / temperature, rank() * len(z) + torch.arange(len(z), device=z.device)


def _of_one_image(own: Tensor, v: int) -> Tensor:
    """(N V,) places, the V of an image in a row -> (N V, V), those of its image."""
    return own.reshape(-1, v).repeat_interleave(v, 0)


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
