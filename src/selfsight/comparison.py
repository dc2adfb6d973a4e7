"""One picture is compared with K candidates: the head of every puzzle that asks which of them, and how much.

Each candidate is judged by itself and by the same weights, so that the scores follow the candidates when these change
places (equivariance); nothing is normalised over the batch, so that neither the other candidates nor the other examples
have a say. Vectors are brought to length sqrt(D) first: products of raw features reach a hundred, and logits with them.

Shapes: N examples, K candidates, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

By = Literal["dot", "cosine", "product", "difference", "square", "all"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Good: `all` or `difference` where something is to be measured, `cosine` where likeness is the answer. Poor: `dot`
    and `cosine` where the question is not how alike two pictures are, as they leave nothing else to learn."""

    by: By = "all"
    """dot: inner product; cosine: with a learned scale and bias; product: u * v into a perceptron; difference: |u - v|;
    square: (u - v)^2; all: u, v, u * v and |u - v|."""
    hidden: int = 128
    """Width of the perceptron's hidden layer, where there is one."""

    def build(self, dim: int, answers: int = 1) -> nn.Module:
        """A module ((N, D), (N, K, D)) -> (N, K, answers), or (N, K) for a single answer."""
        if self.by in ("dot", "cosine"):
            if answers != 1:
                raise ValueError(f"by={self.by!r} gives one score per candidate, not {answers}: take by='all'")
            return Likeness(scaled=self.by == "cosine")
        return Judged(dim, self.hidden, answers, self.by)


class Likeness(nn.Module):
    """Inner product of vectors of length 1, on a learned scale. Not scaled: sqrt(D) stands for the scale, and stays."""

    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0)) if scaled else None
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, asked: Tensor, candidates: Tensor) -> Tensor:
        cosines = (F.normalize(asked, dim=-1).unsqueeze(1) * F.normalize(candidates, dim=-1)).sum(-1)
        return cosines * (asked.shape[-1] ** 0.5 if self.scale is None else self.scale) + self.bias


class Judged(nn.Module):
    """A perceptron on what two vectors have in common and what not."""

    def __init__(self, dim: int, hidden: int, answers: int, by: By) -> None:
        super().__init__()
        self.by, self.answers = by, answers
        self.head = nn.Sequential(
            nn.Linear(4 * dim if by == "all" else dim, hidden), nn.ReLU(), nn.Linear(hidden, answers)
        )

    def forward(self, asked: Tensor, candidates: Tensor) -> Tensor:
        dim = asked.shape[-1]
        v = F.normalize(candidates, dim=-1) * dim**0.5
        u = (F.normalize(asked, dim=-1) * dim**0.5).unsqueeze(1).expand_as(v)
        seen = {
            "product": lambda: u * v,
            "difference": lambda: (u - v).abs(),
            "square": lambda: (u - v) ** 2,
            "all": lambda: torch.cat([u, v, u * v, (u - v).abs()], -1),
        }[self.by]()
        scores = self.head(seen)
        return scores[..., 0] if self.answers == 1 else scores
