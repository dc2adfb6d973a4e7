"""Pieces of programs that compare two views of each picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from asking import alarming
from torch import Tensor, nn

from selfsight.check import Check
from selfsight.planted import Quarters, tiny
from selfsight.program import Program


def causes(check: Check, program: Program) -> set[str]:
    return {finding.cause for finding in alarming(check, program)}


class Encoder(nn.Module):
    def __init__(self, out: int = 24) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 16, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


def two_views() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(view, view, label): a loader over a labelled folder, whose labels a contrastive loss leaves alone."""
    data = Quarters()
    for rows in torch.randperm(len(data)).split(16):
        x = data.pictures[rows]
        yield x + 0.1 * torch.randn_like(x), x.roll(1, 3) + 0.1 * torch.randn_like(x), data.labels[rows]


def joint(loss: Any, model: Any = Encoder, **pieces: Any) -> Program:
    pieces = {"batches": two_views, "views": lambda b: (b[0], b[1]), **pieces}
    return tiny(model=model, loss=loss, **pieces)


def nt_xent(z1: Tensor, z2: Tensor, t: float = 0.2) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    sim = (z @ z.T / t).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(sim, torch.arange(len(z)).roll(len(z1)))


def simclr(model: nn.Module, b: Any) -> Tensor:
    return nt_xent(model(b[0]), model(b[1]))
