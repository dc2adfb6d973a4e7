"""Supervised digits, as a first course teaches it: tuples, log_softmax and NLLLoss, no norm layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import digits

BATCH_SIZE = 64


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def to_colour(grey: Tensor) -> Tensor:
    return (grey.expand(3, -1, -1) - 0.3) / 0.35


def make_dataset(host: Host, train: bool) -> TensorDataset:
    x, y = host.pictures(train)
    return TensorDataset(torch.stack([host.augment(host.prepare(picture)) for picture in x]), y)


def make_loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=BATCH_SIZE, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


def accuracy(host: Host, model: nn.Module) -> float:
    right = total = 0
    for batch in host.loader(host.dataset(host, False), False):
        y = batch[1]
        right += int((host.predict(model, batch).argmax(dim=1) == y).sum())
        total += len(y)
    return right / total


HOST = Host(
    name="classifier",
    steps=140,
    rate=1e-3,
    encoder="features",
    head="classifier",
    pictures=digits,
    prepare=to_colour,
    dataset=make_dataset,
    loader=make_loader,
    model=Net,
    forward=lambda model, batch: model(batch[0]),
    activation=lambda out: F.log_softmax(out, dim=1),
    criterion=lambda logp, batch: F.nll_loss(logp, batch[1]),
    optimizer=lambda module, rate: torch.optim.Adam(module.parameters(), lr=rate),
    embed=lambda model, batch: model.features(batch[0]),
    target=Slot(get=lambda batch: batch[1], put=lambda batch, y: (batch[0], y)),
    metric=accuracy,
    floor=0.1,
    good=0.8,
    given=("predict", "criterion", "embed", "dataset", "validation", "planned_steps"),
)
