"""How many tokens does this picture need?

By search: spell it out, and take the first length whose error is small enough. Or in one look: from what a speller
sees before the first pass (`Spelling.clues`), a linear rule says the logarithm of the error after each token; it is
fitted in closed form, by ridge regression, to pictures that have been spelled.

Shapes: N pictures, T tokens, F clues.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-2
"""Of the mean square of a standardised clue."""
LEAST = 1e-7
"""No error counts as less: a hundredth of what rounding to bytes leaves."""


def needed(errors: Tensor, threshold: float) -> Tensor:
    """(N, T + 1) errors after 0 ... T tokens -> (N,) the fewest tokens whose error is at most `threshold`, 1 at least;
    T where no length is enough."""
    enough = errors[:, 1:] <= threshold
    first = enough.double().argmax(1) + 1
    return torch.where(enough.any(1), first, torch.full_like(first, errors.shape[1] - 1))


def error_at(errors: Tensor, counts: Tensor) -> Tensor:
    """(N,) the error of each picture at its own number of tokens."""
    return errors.gather(1, counts[:, None])[:, 0]


@dataclass(frozen=True)
class Lengths:
    """A fitted rule."""

    mean: Tensor
    """(F,) of the clues."""
    scale: Tensor
    """(F,) their deviations."""
    weights: Tensor
    """(F + 1, T): of standardised clues and of 1, for the logarithms of errors after 1 ... T tokens."""
    start: float
    """Mean error before the first token, which no rule is needed for."""

    @staticmethod
    def fit(clues: Tensor, errors: Tensor) -> Lengths:
        """clues (N, F), errors (N, T + 1). Raises ValueError where fewer than two pictures are given."""
        if len(clues) < 2:
            raise ValueError(f"a rule for lengths is fitted to two or more pictures, not {len(clues)}")
        x, y = clues.double(), errors[:, 1:].double().clamp(min=LEAST).log()
        mean, scale = x.mean(0), x.std(0).clamp(min=1e-6)
        x = torch.cat([(x - mean) / scale, torch.ones_like(x[:, :1])], 1)
        price = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        price[-1, -1] = 0
        return Lengths(mean, scale, torch.linalg.solve(x.T @ x + price, x.T @ y), float(errors[:, 0].mean()))

    def errors(self, clues: Tensor) -> Tensor:
        """(N, F) -> (N, T + 1) expected errors, falling from token to token as true ones do."""
        x = (clues.double() - self.mean) / self.scale
        told = (torch.cat([x, torch.ones_like(x[:, :1])], 1) @ self.weights).exp().cummin(1).values
        return torch.cat([told[:, :1].clamp(min=self.start), told], 1)

    def needed(self, clues: Tensor, threshold: float) -> Tensor:
        """(N,) tokens each picture should need for an error of at most `threshold`."""
        return needed(self.errors(clues), threshold)


def at_mean(errors: Tensor, scores: Tensor, mean: float) -> tuple[Tensor, float]:
    """The lengths (N,) of mean `mean` that one threshold on `scores` (N, T + 1) gives, and their mean of `errors`.

    What two ways of choosing lengths are compared by: at the same mean length. The threshold is found by halving; what
    is left between two lengths is shared in proportion.
    """
    low, high = LEAST / 10, float(scores.max()) * 2
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if float(needed(scores, middle).double().mean()) <= mean else (middle, high)
    short, long = needed(scores, high), needed(scores, low)
    a, b = float(short.double().mean()), float(long.double().mean())
    share = (mean - a) / (b - a) if b > a else 0.0
    ends = [float(error_at(errors, counts).mean()) for counts in (short, long)]
    return short, ends[0] + min(1.0, max(0.0, share)) * (ends[1] - ends[0])
