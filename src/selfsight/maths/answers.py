"""Who is asked what: answers drawn so that each comes equally often in every batch.

A constant answer then knows nothing even of the batch at hand, and the loss of the best one is a round number.

Shapes: N examples, K answers.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def balanced(n: int, k: int, generator: Generator) -> Tensor:
    """(N,) int64 in 0..k-1, shuffled; where k does not divide n, chance says which answers come once more."""
    order = torch.randperm(k, generator=generator)
    return order[torch.arange(n) % k][torch.randperm(n, generator=generator)]


def suited(can: Tensor, generator: Generator) -> Tensor:
    """(N,) int64: as `balanced`, but an example is given an answer it can have, wherever that is possible.

    can (N, K) bool. Answers that no example can have are left out.
    """
    n, k = can.shape
    possible = can.any(0).nonzero()[:, 0].cpu()
    if not len(possible):
        return balanced(n, k, generator).to(can.device)
    places = possible[balanced(n, len(possible), generator)]
    chance = torch.rand(n, n, generator=generator)  # among equally good assignments, each as likely
    from scipy.optimize import linear_sum_assignment  # late: every start would pay for it

    _, chosen = linear_sum_assignment((chance + n * ~can.cpu()[:, places]).numpy())
    return places[torch.from_numpy(chosen)].to(can.device)


def half(can: Tensor, generator: Generator) -> Tensor:
    """(N, K) bool: each column true for half of the examples, of those that can have it, as far as there are as many.

    can (N, K) bool. Where N is odd, chance rounds.
    """
    n, k = can.shape
    count = (n + torch.randint(2, (k,), generator=generator)) // 2
    rank = (torch.rand(n, k, generator=generator) + ~can.cpu()).argsort(0).argsort(0)
    return (rank < count).to(can.device) & can
