"""Which image is number 0? Names for the images whose boxes lie shuffled on one canvas.

By appearance: the image of the first cell is 0, the next new one 1, and so on (the rule of the journals of an unmixing
net). By matching: the naming, of all n! there are, that suits the prediction best, as Hungarian matching would find it;
n is small, so all are tried at once.

Shapes: N examples, K cells, n images with m boxes each, K = n m.
"""

from __future__ import annotations

import math
from collections import defaultdict
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
    cells = images * boxes
    shares = torch.zeros(cells, images, dtype=torch.float64)
    states: dict[tuple[int, ...], float] = {(): 1.0}  # boxes still to come of each image that has a name
    for cell in range(cells):
        following: dict[tuple[int, ...], float] = defaultdict(float)
        for state, chance in states.items():
            for name, left in enumerate(state):
                came = chance * left / (cells - cell)
                shares[cell, name] += came
                following[(*state[:name], left - 1, *state[name + 1 :])] += came
            if len(state) < images:
                came = chance * (images - len(state)) * boxes / (cells - cell)
                shares[cell, len(state)] += came
                following[(*state, boxes - 1)] += came
        states = {state: chance for state, chance in following.items() if chance}
    return shares


@cache
def doubt(images: int, boxes: int) -> float:
    """Nats a box that a constant answer leaves open: which image, and which of its places. 0 < result for boxes > 1."""
    shares = appearance_shares(images, boxes)
    return float(-torch.xlogy(shares, shares).sum(1).mean()) + math.log(boxes)
