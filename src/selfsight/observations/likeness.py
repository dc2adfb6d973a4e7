"""How alike the two views of an image are in an embedding, image by image, so that two nets can be compared.

Shapes: N images, D features; z1[i] and z2[i] are two views of image i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsight.instruments.nest import kept, rows
from selfsight.instruments.snapshot import same, still
from selfsight.maths.nearest import TIE, unit
from selfsight.maths.spectrum import effective_rank, spread

if TYPE_CHECKING:
    from selfsight.case import Case

IMAGES = 256
"""Images that are looked at."""
RESAMPLES = 100
CERTAIN = 3.3
"""Standard deviations of a bootstrap; one-sided p = 5e-4."""


class NoPairs(Exception):
    """Why two views cannot be embedded."""


def exchanged(case: Case, batch: Any) -> Any:
    """The batch with its two views exchanged, so that what embeds the first view embeds the second. Raises NoPairs."""
    changed = kept(batch)
    one, two = case.call("views", changed)
    first, second = one.clone(), two.clone()
    try:
        one.copy_(second)
        two.copy_(first)
    except RuntimeError as error:
        raise NoPairs("its two views are not of one shape") from error
    now = case.call("views", changed)
    if not (same(now[0], second) and same(now[1], first)):
        raise NoPairs("its views are made anew, not parts of the batch that could be exchanged")
    return changed


def embedded(case: Case, model: nn.Module, batch: Any) -> Tensor:
    """(N, D): what the program embeds, or its first output with a row per image. Raises NoPairs."""
    count = len(case.call("views", batch)[0])
    if case.has("embed"):
        with still(model), torch.no_grad():
            z = case.call("embed", model, batch)
    else:
        z = next((value for value in case.said(model, batch).values() if value.ndim >= 2 and len(value) == count), None)
    if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != count or not bool(z.isfinite().all()):
        raise NoPairs("no embedding has one finite row per image")
    return z.detach().float().flatten(1)


def pairs(case: Case, model: nn.Module, training: bool) -> tuple[Tensor, Tensor]:
    """The embeddings of both views of up to IMAGES images, in train or in eval mode. Raises NoPairs."""
    first, second = list[Tensor](), list[Tensor]()
    with still(model):
        model.train(training)
        for batch in case.batches:
            first.append(embedded(case, model, batch))
            second.append(embedded(case, model, exchanged(case, batch)))
            if sum(map(len, first)) >= IMAGES or rows(batch) is None:
                break
    z1, z2 = torch.cat(first)[:IMAGES], torch.cat(second)[:IMAGES]
    if same(z1, z2):
        raise NoPairs("what is embedded does not depend on the views")
    return z1, z2


@dataclass(frozen=True)
class Likeness:
    """What the two views of N images have in common."""

    hits: np.ndarray
    """(N,) the share of an image's two views whose nearest other view, by centred cosine, is its own."""
    margins: np.ndarray
    """(N,) the centred cosine of an image's views less the mean of those with other images."""
    p: float
    """How often images paired at random are as alike."""
    z: Tensor
    """(2N, D)."""

    @property
    def rank(self) -> float:
        return effective_rank(self.z, centre=True)

    @property
    def spread(self) -> float:
        return spread(self.z)


def likeness(z1: Tensor, z2: Tensor, permutations: int = 2000) -> Likeness:
    z = torch.cat([z1, z2])
    unitary, count = unit(z, z.double().mean(0).float()), len(z1)
    cosines = unitary @ unitary.T
    own = (torch.arange(2 * count) + count) % (2 * count)
    candidates = cosines.clone().fill_diagonal_(-torch.inf)
    nearest = candidates >= candidates.amax(1, keepdim=True) - TIE
    share = nearest[torch.arange(2 * count), own].float() / nearest.sum(1)
    across = cosines[:count, count:]
    margins = across.diagonal() - (across.sum(1) - across.diagonal()) / max(1, count - 1)
    table, drawn = across.double().numpy(), np.random.default_rng(0)
    others = [table[np.arange(count), drawn.permutation(count)].mean() for _ in range(permutations)]
    p = (1 + sum(other >= np.trace(table) / count - 1e-12 for other in others)) / (1 + permutations)
    return Likeness((share[:count] + share[count:]).numpy() / 2, margins.numpy(), float(p), z)


def finds_less(now: Likeness, then: Likeness) -> float:
    """p of a sign test over images: fewer views are found again now."""
    worse, better = int((now.hits < then.hits).sum()), int((now.hits > then.hits).sum())
    from scipy.stats import binomtest  # late: every start would pay for it

    return float(binomtest(worse, worse + better, 0.5, alternative="greater").pvalue) if worse + better else 1.0


def agrees_less(now: Likeness, then: Likeness) -> float:
    """p of Wilcoxon's test over images: their views are less alike now, beside those of others."""
    from scipy.stats import wilcoxon  # late: every start would pay for it

    return float(wilcoxon(now.margins, then.margins, alternative="less").pvalue)


def shrunk(now: Likeness, then: Likeness, measure: Callable[[Tensor], float], share: float) -> bool:
    """Whether a measure of the embedding is now below a share of what it was, by a bootstrap over images."""
    count, drawn = len(now.hits), np.random.default_rng(1)
    gaps = []
    for _ in range(RESAMPLES):
        images = torch.from_numpy(drawn.integers(0, count, count))
        which = torch.cat([images, images + count])
        gaps.append(share * measure(then.z[which]) - measure(now.z[which]))
    return bool(np.mean(gaps) > CERTAIN * np.std(gaps) and np.mean(gaps) > 0)


def width(z: Tensor) -> float:
    """Effective dimensions beyond the first, centred."""
    return effective_rank(z, centre=True) - 1
