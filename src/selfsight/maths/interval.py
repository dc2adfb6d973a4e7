"""How sure a number is: 95 % percentile-bootstrap intervals over images, vectorised and seeded.

Efron, Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. Two factors (draws and images) are resampled
independently, as Owen, "The Pigeonhole Bootstrap" (2007): slightly too wide rather than too narrow. A resample depends
on the values alone, not on their order.

Shapes: n values (one an image), R draws, B resamples, C classes.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
"""The ends of the interval move by about 3 % of its width from one seed to another."""

FEW = 64
"""Up to so many different values a resample is one multinomial draw of their counts, whatever n is."""

BLOCK_NUMBERS = 2**22
"""Numbers in memory at once (32 MiB of float64)."""


def mean_interval(each: np.ndarray, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of the mean of `each` (n,), n >= 1: (low, high).

    No width where all values are equal: then use `share_interval` if they are yes or no.
    """
    generator = np.random.default_rng(seed)
    values, counts = np.unique(np.asarray(each, dtype=np.float64), return_counts=True)
    total = int(counts.sum())
    if len(values) <= FEW:
        means = generator.multinomial(total, counts / total, size=resamples) @ values / total
    else:
        values = np.repeat(values, counts)
        size = max(1, BLOCK_NUMBERS // total)
        parts = [min(size, resamples - start) for start in range(0, resamples, size)]
        means = np.concatenate([values[generator.integers(total, size=(part, total))].mean(1) for part in parts])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def share_interval(hits: np.ndarray, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of a share: hits (n,) of 0 and 1 -> (low, high).

    Where all are 0 or all are 1 resampling finds no doubt, though there is some: then the exact interval of Clopper and
    Pearson (1934), whose other end is 0.025 ** (1/n) away from certainty.
    """
    share = float(np.mean(hits))
    if share in (0.0, 1.0):
        doubt = 0.025 ** (1 / len(hits))
        return (doubt, 1.0) if share else (0.0, 1 - doubt)
    return mean_interval(hits, seed, resamples)


def balanced_interval(
    hits: np.ndarray, labels: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % interval of the mean over classes of the share of hits.

    hits (n,) of 0 and 1, labels (n,) int -> (low, high). Images are resampled; a class that a resample misses is left
    out of that resample's mean.
    """
    if hits.min() == hits.max():
        return share_interval(hits, seed, resamples)
    _, dense = np.unique(labels, return_inverse=True)
    right = np.bincount(dense, weights=hits).astype(np.int64)
    wrong = np.bincount(dense) - right
    total, classes = len(hits), len(right)
    draws = np.random.default_rng(seed).multinomial(total, np.concatenate([right, wrong]) / total, size=resamples)
    size = draws[:, :classes] + draws[:, classes:]
    share = np.where(size > 0, draws[:, :classes] / np.maximum(size, 1), 0.0)
    low, high = np.percentile(share.sum(1) / (size > 0).sum(1), [2.5, 97.5])
    return float(low), float(high)


def crossed_interval(hits: np.ndarray, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % interval of the mean of a table whose rows are random draws and whose columns are images.

    hits (R, n) -> (low, high), covering both another set of draws and another set of images.
    """
    if hits.min() == hits.max():
        return share_interval(hits[0], seed, resamples)
    draws, total = hits.shape
    generator = np.random.default_rng(seed)
    by_draw = generator.multinomial(draws, np.full(draws, 1 / draws), size=resamples) / draws
    size = max(1, BLOCK_NUMBERS // total)
    means = []
    for start in range(0, resamples, size):
        part = by_draw[start : start + size] @ hits
        picked = generator.integers(total, size=part.shape)
        means.append(np.take_along_axis(part, picked, axis=1).mean(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)
