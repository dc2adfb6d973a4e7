"""A tiny healthy program whose pieces can be replaced: what checks are tested on before they are believed.

64 pictures of 8 x 8 pixels, each of one of three bright quarters; the net names the quarter. It learns that in some
dozen steps, a few milliseconds each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from selfsight.program import Program

CLASSES = 3


class Quarters(Dataset[tuple[Tensor, Tensor]]):
    """64 items (picture (1, 8, 8) float, label int64)."""

    def __init__(self, count: int = 64) -> None:
        drawn = torch.Generator().manual_seed(1)
        self.labels = torch.randint(CLASSES, (count,), generator=drawn)
        self.pictures = 0.3 * torch.randn(count, 1, 8, 8, generator=drawn)
        for picture, label in zip(self.pictures, self.labels.tolist(), strict=True):
            row, column = divmod(label, 2)
            picture[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.pictures[i], self.labels[i]


class Net(nn.Module):
    """A convolution, a hidden layer, three logits."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def batches(data: Dataset[Any] | None = None) -> Iterable[Any]:
    """Shuffled batches of 16."""
    return DataLoader(data or Quarters(), batch_size=16, shuffle=True)


def loss(model: nn.Module, batch: Any) -> Tensor:
    pictures, labels = batch
    return cross_entropy(model(pictures), labels)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 3e-3)


def tiny(**pieces: Any) -> Program:
    """The program, with members of Program replaced: `tiny(model=Broken)`."""
    well = Program(
        batches=batches, model=Net, loss=loss, optimizer=lambda net: torch.optim.Adam(net.parameters(), 3e-3)
    )
    return dataclasses.replace(well, **pieces)
