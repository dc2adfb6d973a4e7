"""Which images stand beside which in a puzzle of several: each image of a batch with others of the same batch.

Shapes: N images in a batch, K candidates.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Generator, Tensor

from selfsight.maths.answers import balanced


def companions(n: int, count: int, generator: Generator) -> Tensor:
    """(N, K) places in the batch, all different in a row: each image first in its own, and once in every column.

    Raises ValueError for a batch too small to hold so many different images.
    """
    if n < count:
        raise ValueError(f"a puzzle of {count} different images needs a batch of as many, not {n}: take a larger batch")
    order = torch.randperm(n, generator=generator)
    place = order.argsort()
    return order[(place[:, None] + torch.arange(count)) % n]


def chosen(n: int, count: int, of: int, generator: Generator) -> Tensor:
    """(N, of) bool with `count` true in each row: every choice as often as another, in random order."""
    choices = torch.stack([_marked(places, of) for places in combinations(range(of), count)])
    return choices[balanced(n, len(choices), generator)]


def _marked(places: tuple[int, ...], of: int) -> Tensor:
    marked = torch.zeros(of, dtype=torch.bool)
    marked[list(places)] = True
    return marked
