"""How well a ranking of images by similarity puts those of the same class first.

Recall@k as in metric learning: the share of queries with at least one relevant image among the first k. Mean average
precision: for each query the mean, over its relevant images, of the precision at that image's rank. Ties count against:
an image stands behind every irrelevant one that is equally similar, so a constant embedding earns chance or less, and
nothing depends on the order of the images.

Shapes: M images, D features, k ranks.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from selfsight.maths.nearest import TIE, blocks


def rank_relevant(features: Tensor, labels: np.ndarray, ranks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Every image queries all others; relevant are those with its label.

    features (M, D), rows of length one; labels (M,) int; ranks, e.g. (1, 5)
    -> found (M, len(ranks)) float64 in {0, 1}: is a relevant image among the first k?
       precision (M,) float64: average precision. Both NaN for a query that has no relevant image.
    """
    found = np.full((len(labels), len(ranks)), np.nan)
    precision = np.full(len(labels), np.nan)
    for which, products in blocks(features, features):
        # np.sort of float32 is several times faster than a sort that also carries indices
        distances = np.round(products.numpy() / -TIE).astype(np.float32)
        for row, distance in enumerate(distances):
            query = which.start + row
            relevant = labels == labels[query]
            relevant[query] = False
            if relevant.any():
                others = ~relevant
                others[query] = False
                found[query], precision[query] = _one_query(distance[relevant], distance[others], ranks)
    return found, precision


def _one_query(relevant: np.ndarray, others: np.ndarray, ranks: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Distances of relevant (R,) and other (O,) images -> found (len(ranks),), average precision."""
    relevant, others = np.sort(relevant), np.sort(others)
    before = np.searchsorted(others, relevant, side="right")
    place = np.arange(1, len(relevant) + 1)
    return (before[0] < np.array(ranks)).astype(float), float((place / (place + before)).mean())
