"""How well a clustering agrees with classes: normalised mutual information and the adjusted Rand index.

NMI: Strehl, Ghosh, "Cluster Ensembles" (JMLR 2002), with the arithmetic mean of the two entropies as denominator. ARI:
Hubert, Arabie, "Comparing Partitions" (1985). Both are functions of the table of counts alone, so resampling images is
resampling the table's cells, and thousands of resamples are a few matrix products.

Shapes: M images, K clusters, C classes, E cells of the table that hold an image, B resamples.
"""

from __future__ import annotations

import numpy as np


def _ones(codes: np.ndarray) -> np.ndarray:
    """(E,) codes -> (E, number of different codes) membership."""
    _, dense = np.unique(codes, return_inverse=True)
    return np.eye(dense.max() + 1)[dense]


def _entropy(counts: np.ndarray, total: int) -> np.ndarray:
    """(B, groups) counts -> (B,) entropy in nats."""
    share = counts / total
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(1)


def _pairs(counts: np.ndarray) -> np.ndarray:
    """(B, groups) counts -> (B,) number of pairs that lie in one group."""
    return (counts * (counts - 1) / 2).sum(1)


def _both(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, total: int) -> np.ndarray:
    """cells (B, E) counts -> (B, 2): NMI, ARI."""
    cells = cells.astype(np.float64)
    by_row, by_column = cells @ rows, cells @ columns
    row, column = _entropy(by_row, total), _entropy(by_column, total)
    shared = row + column - _entropy(cells, total)
    mutual = np.where(row + column > 0, 2 * shared / np.maximum(row + column, 1e-300), 1.0)
    together, in_row, in_column = _pairs(cells), _pairs(by_row), _pairs(by_column)
    expected = in_row * in_column / max(1.0, total * (total - 1) / 2)
    room = (in_row + in_column) / 2 - expected
    rand = np.where(room > 0, (together - expected) / np.where(room > 0, room, 1.0), 1.0)
    return np.stack([np.clip(mutual, 0, 1), rand], 1)


def agreement(clusters: np.ndarray, labels: np.ndarray, seed: int, resamples: int = 2000) -> np.ndarray:
    """NMI and ARI with 95 % bootstrap intervals over images.

    clusters, labels (M,) int -> (2, 3): rows NMI and ARI; value, low, high. A resample repeats images, which makes any
    partition look tidier than it is; the intervals are shifted by the mean of that, measured on the resamples. A
    clustering that is right throughout gets no width.
    """
    total = len(labels)
    codes, counts = np.unique(np.stack([clusters, labels]), axis=1, return_counts=True)
    rows, columns = _ones(codes[0]), _ones(codes[1])
    value = _both(counts[None], rows, columns, total)[0]
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(total, counts / total, size=resamples)
    found = np.concatenate([_both(part, rows, columns, total) for part in np.array_split(draws, 20)])
    found = found - (found.mean(0) - value)
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    least = np.array([0.0, -1.0])
    return np.stack([value, np.clip(low, least, value), np.clip(high, value, 1.0)], 1)
