"""Do two views of the same image find each other? The one label-free question that noise cannot answer.

Spread and rank call an embedding perfect whose two views are unrelated; this is chance there, 1 / (2N - 1).

Shapes: N images, D features; z1[i] and z2[i] are two views of image i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from selfsight.maths.nearest import TIE, blocks, unit


def view_retrieval(z1: Tensor, z2: Tensor) -> float:
    """The share of the 2N views whose nearest neighbour among the other 2N - 1, by cosine, is the same image's view.

    z1, z2 (N, D). Views that tie for the first place share it, so a constant embedding gets 1 / (2N - 1).
    Cosine is taken from the mean of all views, for a common offset would make all of them alike.
    """
    both = torch.cat([z1, z2]).to(torch.float32)
    rows = unit(both, both.double().mean(0).float())
    count = len(z1)
    right = 0.0
    for which, products in blocks(rows, rows):
        place = torch.arange(which.start, which.stop)
        row = torch.arange(len(place))
        products[row, place] = -torch.inf
        first = products >= products.amax(1, keepdim=True) - TIE
        right += float((first[row, (place + count) % (2 * count)] / first.sum(1)).sum())
    return right / (2 * count)
