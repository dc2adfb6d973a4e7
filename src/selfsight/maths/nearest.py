"""Nearest neighbours by cosine, exactly and in bounded memory.

All similarities of a block of queries are one matrix product; only the block exists at a time. Items whose similarity
differs by less than `TIE` count as equally near and share what one of them would get, so that no result depends on the
order in which the keys happen to lie (a collapsed encoder makes all of them equal).

Weighted vote: Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (2018),
section 3.4.

Shapes: N keys, M queries, D features, K neighbours, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

TIE = 1e-6
"""Cosines closer than this are equal: float32 sums of 512 products of unit vectors differ by up to 3e-7 with the order
of summation."""

BLOCK_NUMBERS = 2**24
"""Similarities in memory at once (64 MiB of float32)."""


def _tensor(rows: np.ndarray | Tensor) -> Tensor:
    """The same numbers as a tensor; read-only memory, which torch cannot share, is copied."""
    if isinstance(rows, np.ndarray):
        return torch.from_numpy(rows if rows.flags.writeable else rows.copy())
    return rows


def unit(features: np.ndarray | Tensor, centre: Tensor | None = None) -> Tensor:
    """Rows of length one, float32, after subtracting `centre` (D,); a row of no length stays zero.

    features (N, D) -> (N, D).
    """
    rows = _tensor(features).to(torch.float32)
    if centre is None:
        return torch.nn.functional.normalize(rows, dim=1, eps=1e-12)
    moved = rows - centre
    return torch.nn.functional.normalize(moved, dim=1, eps=1e-12, out=None if moved.requires_grad else moved)


def mean(features: np.ndarray | Tensor) -> Tensor:
    """The mean row, summed in float64: (N, D) -> (D,) float32."""
    rows = _tensor(features)
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for part in rows.split(8192):
        total += part.sum(0, dtype=torch.float64)
    return (total / max(1, len(rows))).to(torch.float32)


def blocks(queries: Tensor, keys: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Products of queries (M, D) with keys (N, D), some queries at a time: (which queries, (m, N) products)."""
    size = max(1, min(1024, BLOCK_NUMBERS // max(1, len(keys))))
    for start in range(0, len(queries), size):
        which = slice(start, min(start + size, len(queries)))
        yield which, queries[which] @ keys.T


def nearest(queries: Tensor, keys: Tensor, count: int, itself: bool = False) -> tuple[Tensor, Tensor]:
    """The `count` keys most similar to each query, best first; among equals the earlier key comes first.

    queries (M, D) and keys (N, D) with rows of length one. `itself`: query i *is* key i, and is not its own neighbour.
    -> similarity (M, K) float32, index (M, K) int64 with K = min(count, number of keys to choose from).
    """
    count = min(count, len(keys) - int(itself))
    similarity = torch.empty(len(queries), count)
    index = torch.empty(len(queries), count, dtype=torch.int64)
    for which, products in blocks(queries, keys):
        if itself:
            _leave_out_itself(products, which.start)
        values, places = products.topk(min(count + 1, products.shape[1]), dim=1)
        if count < values.shape[1]:
            for row in (values[:, count] == values[:, count - 1]).nonzero()[:, 0].tolist():
                places[row] = products[row].argsort(descending=True, stable=True)[: places.shape[1]]
                values[row] = products[row, places[row]]
        places, values = places[:, :count], values[:, :count]
        by_place = places.argsort(dim=1)
        places, values = places.gather(1, by_place), values.gather(1, by_place)
        by_value = values.argsort(dim=1, descending=True, stable=True)
        index[which], similarity[which] = places.gather(1, by_value), values.gather(1, by_value)
    return similarity, index


def vote(queries: Tensor, keys: Tensor, labels: Tensor, classes: int, count: int, temperature: float) -> Tensor:
    """Each query's neighbours vote for their class with weight exp(similarity / temperature).

    queries (M, D), keys (N, D) with rows of length one, labels (N,) int64 in [0, classes)
    -> (M, C) float64, each row summing to 1. Keys that tie for the last of the `count` places share them.
    """
    count = min(count, len(keys))
    votes = torch.zeros(len(queries), classes, dtype=torch.float64)
    for which, products in blocks(queries, keys):
        values, places = products.topk(min(count + 1, products.shape[1]), dim=1)
        weight = torch.exp((values[:, :count].double() - 1) / temperature)
        part = torch.zeros(len(values), classes, dtype=torch.float64)
        part.scatter_add_(1, labels[places[:, :count]], weight)
        if values.shape[1] > count:
            tied = values[:, count] >= values[:, count - 1] - TIE
            for row in tied.nonzero()[:, 0].tolist():
                part[row] = _shared_vote(products[row], values[row, count - 1], labels, classes, count, temperature)
        votes[which] = part / part.sum(1, keepdim=True)
    return votes


def _shared_vote(
    products: Tensor, last: Tensor, labels: Tensor, classes: int, count: int, temperature: float
) -> Tensor:
    """One query's vote where several keys tie for the last place: (N,) products -> (C,)."""
    above, tied = products > last + TIE, (products - last).abs() <= TIE
    weight = torch.exp((products.double() - 1) / temperature)
    weight = weight * above + weight * tied * ((count - above.sum()) / tied.sum())
    return torch.zeros(classes, dtype=torch.float64).scatter_add_(0, labels, weight)


def _leave_out_itself(products: Tensor, start: int) -> None:
    rows = torch.arange(len(products))
    products[rows, rows + start] = -torch.inf
