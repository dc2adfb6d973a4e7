"""Which image is number 0? Names for the images whose boxes lie shuffled on one canvas.

By appearance: the image of the first cell is 0, the next new one 1, and so on (the rule of the journals of an unmixing
net). By matching: the naming, of all n! there are, that suits the prediction best, as Hungarian matching would find it;
n is small, so all are tried at once.

Shapes: N examples, K cells, n images with m boxes each, K = n m.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations

import torch
from torch import Tensor


def by_appearance(owners: Tensor, images: int) -> Tensor:
    """Renames the images of each row in the order of their first cells: (N, K) int in 0..images-1 -> the same."""
    cells = owners.shape[1]
    held = owners.unsqueeze(1) == torch.arange(images, device=owners.device)[None, :, None]
    first = torch.where(held, torch.arange(cells, device=owners.device), cells).amin(-1)
    return first.argsort(1).argsort(1).gather(1, owners)


def by_matching(logits: Tensor, owners: Tensor, shown: Tensor) -> Tensor:
    """Renames the images of each row so that the logits' cross-entropy over the cells shown is least.

    logits (N, K, n), owners (N, K) int, shown (N, K) bool -> (N, K) int.
    """
    images = logits.shape[-1]
    namings = torch.tensor(list(permutations(range(images))), device=owners.device)
    named = namings[:, owners]
    chances = logits.log_softmax(-1).expand(len(namings), *logits.shape).gather(-1, named.unsqueeze(-1))[..., 0]
    best = (chances * shown).sum(-1).argmax(0)
    return namings[best].gather(1, owners)


def appearance_shares(images: int, boxes: int) -> Tensor:
    """How often each cell belongs to the image of each name, `boxes` of each image shuffled, named by appearance.

    -> (images * boxes, images) float64, rows sum to 1, exact. A constant answer can do no better than these shares;
    matching names by a constant answer does no better either (searched by descent: 2 x 4, 2 x 9 and 3 x 4 boxes).
    """
    return _shares(images, boxes, images * boxes, lambda state: 1.0)


def lacking_shares(images: int, boxes: int) -> Tensor:
    """The same of all cells but the last, where shuffles are kept such that the last has every name equally often.

    -> (images * boxes - 1, images) float64, rows sum to 1, exact.
    """

    @cache
    def last(state: State) -> tuple[float, ...]:
        """How often the last cell has each name, once these boxes are left."""
        if state.count(1) == 1 and sum(state) == 1 and len(state) == images:
            return tuple(float(left) for left in state)
        ways = [(chance, last(following)) for _, chance, following in _next(state, images, boxes)]
        return tuple(sum(chance * ends[name] for chance, ends in ways) for name in range(images))

    def even(state: State) -> float:
        return sum(now / usual for now, usual in zip(last(state), last(()), strict=True)) / images

    return _shares(images, boxes, images * boxes - 1, even)


State = tuple[int, ...]
"""Boxes still to come of each image that has a name."""


def _shares(images: int, boxes: int, cells: int, weight: Callable[[State], float]) -> Tensor:
    """(cells, images) how often each cell has each name; a shuffle that reaches a state counts as its weight says."""
    shares = torch.zeros(cells, images, dtype=torch.float64)
    states: dict[State, float] = {(): 1.0}
    for cell in range(cells):
        reached: dict[State, float] = defaultdict(float)
        for state, often in states.items():
            for name, chance, following in _next(state, images, boxes):
                shares[cell, name] += often * chance * weight(following)
                reached[following] += often * chance
        states = reached
    return shares


def _next(state: State, images: int, boxes: int) -> Iterator[tuple[int, float, State]]:
    """The name that the next cell may have, how likely, and what is left then."""
    unnamed = (images - len(state)) * boxes
    total = sum(state) + unnamed
    for name, left in enumerate(state):
        if left:
            yield name, left / total, (*state[:name], left - 1, *state[name + 1 :])
    if unnamed:
        yield len(state), unnamed / total, (*state, boxes - 1)


@cache
def doubt(images: int, boxes: int) -> float:
    """Nats a box that a constant answer leaves open: which image, and which of its places. 0 < result for boxes > 1."""
    return entropy(appearance_shares(images, boxes)) + math.log(boxes)


def entropy(shares: Tensor) -> float:
    """Nats a row that is named by its shares (K, n) alone, on average."""
    return float(-torch.xlogy(shares, shares).sum(1).mean())
