"""How many directions an embedding uses, without labels.

Effective rank ("RankMe"): Garrido, Balestriero, Najman, LeCun, "RankMe: Assessing the Downstream Performance of
Pretrained Self-Supervised Representations by Their Rank" (ICML 2023), equation 1: the exponential of the entropy of the
singular values, normalised to sum 1. Alpha: Agrawal, Mondal, Ghosh, Richards, "alpha-ReQ" (NeurIPS 2022), section 3:
the exponent of the eigenvalues' decay, lambda_i ~ i^-alpha, fitted in log-log. The paper leaves the range open; ranks 4
to 100 weighted by 1/rank are what the authors' published code does.

Blind spots. A collapsed embedding with a little noise has full *centred* rank, for what is left is isotropic; a healthy
embedding with a large common offset has a small *uncentred* one. Few tight clusters are healthy and read low. Both
numbers are equally happy when the two views of an image have nothing in common: see `matching`. Compare with the same
network untrained, never across widths. With N near D both are biased: use N of several D.

Shapes: N images, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-7
"""Added to the normalised singular values, as in the paper."""


def _spectrum(z: Tensor, centre: bool) -> Tensor:
    """Eigenvalues of zᵀz / N, descending: (N, D) -> (min(N, D),) float64, not negative."""
    z = z.to(torch.float64)
    if centre:
        z = z - z.mean(0)
    square = z.T @ z if z.shape[0] >= z.shape[1] else z @ z.T
    return torch.linalg.eigvalsh(square / len(z)).flip(0).clamp(min=0)


def effective_rank(z: Tensor, centre: bool = False) -> float:
    """RankMe: exp of the entropy of the normalised singular values, in [1, min(N, D)]; 1.0 where z is all zero.

    z (N, D) float. `centre` subtracts the mean first: then a common offset is forgiven, but a collapse to one point
    plus noise looks perfect. The paper does not centre.
    """
    values = _spectrum(z, centre).sqrt()
    if not values.sum() > 0:
        return 1.0
    # an eigenvalue of zᵀz is known to 1e-16 of the largest, a singular value therefore only to 1e-8
    values = torch.where(values > values[0] * 3e-8, values, 0.0)
    share = values / values.sum() + EPSILON
    rank = float(torch.exp(-(share * share.log()).sum()))
    return min(max(rank, 1.0), float(len(values)))


def alpha(z: Tensor, first: int = 4, last: int = 100) -> float:
    """The exponent of the eigenspectrum's decay between two ranks (counted from 1), centred; NaN where it has no slope.

    z (N, D) float -> about 1 where variance falls as 1/rank; 0 for an isotropic embedding; large where few directions
    carry all. Ranks that carry less than 1e-12 of the first are left out; NaN where fewer than three remain.
    """
    values = _spectrum(z, centre=True)
    values = values[values > values[0] * 1e-12]
    rank = torch.arange(1, len(values) + 1, dtype=torch.float64)[first - 1 : last]
    if len(rank) < 3:
        return float("nan")
    x, y, weight = rank.log(), values[first - 1 : last].log(), 1 / rank
    weight = weight / weight.sum()
    x, y = x - (weight * x).sum(), y - (weight * y).sum()
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def spread(z: Tensor) -> float:
    """√D times the mean standard deviation of the features of unit-length rows: 1 for an isotropic embedding, 0 for one
    point ("feature-std": Chen, He, "SimSiam", CVPR 2021, section 4.1). z (N, D).

    Blind to rank: two opposite points score like a sphere; and a common offset reads as collapse.
    """
    rows = torch.nn.functional.normalize(z.to(torch.float64), dim=1)
    return float(rows.std(0, correction=0).mean() * z.shape[1] ** 0.5)


def principal(features: np.ndarray, most: int, sample: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the `most` directions of largest variance, from `sample` evenly spaced rows.

    features (N, D) -> mean (D,), directions (D, most) with orthonormal columns, float32.
    """
    rows = torch.from_numpy(features[:: -(-len(features) // sample)].astype(np.float32))
    centre = rows.mean(0)
    rows = rows - centre
    _, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    return centre.numpy(), vectors.flip(1)[:, :most].contiguous().numpy()
