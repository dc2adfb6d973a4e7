"""What stands on an encoder while it trains: small perceptrons, and boxes that look at each other."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def perceptron(*widths: int, normalise_last: bool = False) -> nn.Sequential:
    """Linear layers of the given widths, batch normalisation and ReLU between them.

    `normalise_last` ends with a batch normalisation without scale, as SimCLR's projector does. (N, widths[0]) ->
    (N, widths[-1]).
    """
    layers: list[nn.Module] = []
    for i, (given, wanted) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(given, wanted, bias=last and not normalise_last))
        if not last:
            layers += [nn.BatchNorm1d(wanted), nn.ReLU(inplace=True)]
    if normalise_last:
        layers.append(nn.BatchNorm1d(widths[-1], affine=False))
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """One layer of attention among the boxes of an example, then the same answers asked of each.

    Every box knows its cell, as names by appearance follow from the order of the cells. Layer normalisation only: no
    other example has a say. N examples, K cells, D embedding.
    """

    def __init__(self, dim: int, cells: int, answers: int, hidden: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden))
        self.cell = nn.Parameter(0.1 * torch.randn(cells, hidden))
        self.attention = nn.TransformerEncoderLayer(hidden, 4, 2 * hidden, dropout=0.0, batch_first=True)
        self.answers = nn.Linear(hidden, answers)

    def forward(self, z: Tensor, hidden: Tensor) -> Tensor:
        """z (N, K, D), hidden (N, K) bool, True where there is no box to look at -> (N, K, answers)."""
        return self.answers(self.attention(self.read(z) + self.cell, src_key_padding_mask=hidden))
