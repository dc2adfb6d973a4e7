"""Triplets of digits, after FaceNet: dictionaries of anchor, positive and negative, group norm, RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import digits


class Triplets(Dataset[dict[str, Tensor]]):
    """A digit, another of its class, and one of another class."""

    def __init__(self, host: Host, train: bool) -> None:
        self.host = host
        self.images, self.labels = host.pictures(train)
        self.members = [torch.nonzero(self.labels == label).flatten() for label in range(10)]

    def __len__(self) -> int:
        return len(self.labels)

    def look(self, index: int) -> Tensor:
        return self.host.augment(self.host.prepare(self.images[index]))

    def any_of(self, label: int) -> int:
        members = self.members[label]
        return int(members[torch.randint(len(members), ())])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        label = int(self.labels[index])
        other = (label + int(torch.randint(1, 10, ()))) % 10
        chosen = {"anchor": index, "positive": self.any_of(label), "negative": self.any_of(other)}
        return {name: self.look(number) for name, number in chosen.items()}


class EmbeddingNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convnet = nn.Sequential(
            nn.Conv2d(1, 24, 4, stride=4), nn.GroupNorm(4, 24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.GroupNorm(4, 48), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Sequential(nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.convnet(x))


def shake(image: Tensor) -> Tensor:
    dy, dx = torch.randint(-3, 4, (2,)).tolist()
    return image.roll((dy, dx), (1, 2)) + 0.2 * torch.randn(image.shape)


def batches_of_triplets(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=32, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


def triplet_loss(z: tuple[Tensor, ...], batch: Batch) -> Tensor:
    return functional.triplet_margin_loss(*z, margin=0.5)


def nearest_neighbour(host: Host, model: nn.Module) -> float:
    """Accuracy of five neighbours, from shaken training digits to shaken unseen ones."""
    torch.manual_seed(0)
    known, unknown = (host.pictures(train) for train in (True, False))
    embedded = []
    for images, _ in (known, unknown):
        shown = torch.stack([shake(host.prepare(image)) for image in images])
        whole = shown[: len(shown) // 32 * 32].split(32)
        embedded.append(torch.cat([functional.normalize(model(part), dim=1) for part in whole]))
    near = (embedded[1] @ embedded[0].t()).topk(5, dim=1).indices
    said = known[1][near].mode(dim=1).values
    return float((said == unknown[1][: len(said)]).float().mean())


HOST = Host(
    name="triplet",
    steps=160,
    rate=1e-3,
    encoder="convnet",
    head="fc",
    pictures=digits,
    prepare=lambda image: (image - 0.3) / 0.35,
    augment=shake,
    dataset=Triplets,
    loader=batches_of_triplets,
    model=EmbeddingNet,
    forward=lambda net, batch: tuple(net(batch[part]) for part in ("anchor", "positive", "negative")),
    activation=lambda out: tuple(functional.normalize(z, dim=1) for z in out),
    criterion=triplet_loss,
    optimizer=lambda module, rate: torch.optim.RMSprop(module.parameters(), lr=rate),
    embed=lambda net, batch: net(batch["anchor"]),
    views=Slot(
        get=lambda batch: (batch["anchor"], batch["positive"]),
        put=lambda batch, views: {**batch, "anchor": views[0], "positive": views[1]},
    ),
    metric=nearest_neighbour,
    floor=0.1,
    good=0.75,
    given=("predict", "criterion", "embed", "views", "dataset", "validation", "planned_steps"),
)
