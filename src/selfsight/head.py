"""Small perceptrons that stand on an encoder while it trains."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


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
