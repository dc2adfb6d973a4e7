"""Healthy classifiers that look sick: collapsed features, 99 to 1, a loss that cannot reach 0, silent units, strange pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits, textures
from doctor_odd.training import kept_randomness
from selfsight.program import Program


def accuracy(model: nn.Module) -> float:
    _, _, images, labels = digits()
    return (model(images).argmax(1) == labels).float().mean().item()


# H08: long after the last training mistake, features of one class have become one point (Papyan et al. 2020).


class Collapsing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@cache
def collapsed_weights() -> dict[str, Tensor]:
    images, labels = digits()[:2]
    with kept_randomness(8):
        net = Collapsing()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, weight_decay=2e-3, nesterov=True)
        for epoch in range(40):
            optimizer.param_groups[0]["lr"] = 0.2 if epoch < 25 else 0.02
            for rows in torch.randperm(len(images)).split(128):
                optimizer.zero_grad()
                F.cross_entropy(net(images[rows]), labels[rows]).backward()
                optimizer.step()
    return net.state_dict()


def collapsed() -> Collapsing:
    net = Collapsing()
    net.load_state_dict(collapsed_weights())
    return net


def neural_collapse() -> Program:
    images, labels, held_images, held_labels = digits()

    def passes() -> Iterator[list[Tensor]]:
        for rows in torch.randperm(len(images)).split(64):
            yield [images[rows], labels[rows]]

    return Program(
        batches=passes,
        model=collapsed,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(
            model.parameters(), lr=0.02, momentum=0.9, weight_decay=2e-3, nesterov=True
        ),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch[1]),
        embed=lambda model, batch: model.body(batch[0]),
        validation=lambda: [[held_images, held_labels]],
    )


# H10: one scratched stone in a hundred; most batches hold none, and "never" costs only .056.


class Stones(Dataset):
    """Gravel, brick and grass; every hundredth picture has a bright scratch across it."""

    def __init__(self, count: int, held_out: bool = False, every: int = 100) -> None:
        self.images = textures(count=count, held_out=held_out)[0]
        self.every = every

    def __len__(self) -> int:
        return len(self.images) * 5

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index >= len(self):
            raise IndexError(index)
        image = torch.rot90(self.images[index % len(self.images)], index // len(self.images) % 4, (1, 2)).clone()
        scratched = index % self.every == 0
        if scratched:
            image[:, :, 3 + index // self.every % 10] = 1.0
        return image, torch.tensor([float(scratched)])


class Inspector(nn.Module):
    def __init__(self, prior: float = 0.01) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.out = nn.Linear(16, 1)
        nn.init.constant_(self.out.bias, float(torch.logit(torch.tensor(prior))))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.out(x.amax((2, 3)))


def imbalance() -> Program:
    criterion = nn.BCEWithLogitsLoss()
    stones = Stones(600)
    return Program(
        batches=lambda: DataLoader(stones, batch_size=50, shuffle=True),
        model=Inspector,
        loss=lambda model, batch: criterion(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: criterion(logits, batch[1]),
        dataset=stones,
        validation=lambda: DataLoader(Stones(120, held_out=True), batch_size=50),
        planned_steps=600,
    )


def ranking(model: nn.Module) -> float:
    """The chance that a scratched picture scores above an unscratched one, over held-out pictures, half of each."""
    stones = Stones(60, held_out=True, every=2)
    images, targets = (torch.stack(column) for column in zip(*(stones[i] for i in range(200)), strict=True))
    scores = model(images)[:, 0]
    positive, negative = scores[targets[:, 0] == 1], scores[targets[:, 0] == 0]
    return (positive[:, None] > negative).float().mean().item()


# H11: soft labels on mixed pictures: the best possible loss is far above 0.


def mixed(batch: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Collates with mixup (Zhang et al. 2018), alpha 0.4."""
    x = torch.stack([image for image, _ in batch])
    y = F.one_hot(torch.stack([label for _, label in batch]), 10).float()
    share = torch.distributions.Beta(0.4, 0.4).sample()
    partner = torch.randperm(len(x))
    return {"x": share * x + (1 - share) * x[partner], "y": share * y + (1 - share) * y[partner]}


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )


def smoothing_and_mixup() -> Program:
    images, labels, _, _ = digits()
    pairs = list(zip(images, labels, strict=True))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    return Program(
        batches=lambda: DataLoader(pairs, batch_size=64, shuffle=True, collate_fn=mixed),
        model=small_net,
        loss=lambda model, batch: criterion(model(batch["x"]), batch["y"]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True),
        predict=lambda model, batch: model(batch["x"]),
        criterion=lambda prediction, batch: criterion(prediction, batch["y"]),
        dataset=pairs,
    )


# H12: units that are silent four times in five, dropout 0.8, three kinds of activation.


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv2d(1, 64, 3, padding=1)
        self.norm = nn.BatchNorm2d(64)
        nn.init.constant_(self.norm.bias, -0.8)  # so that only strong responses pass
        self.narrow = nn.Conv2d(64, 24, 3, stride=2, padding=1)
        self.hidden = nn.Linear(24 * 16, 512)
        self.drop = nn.Dropout(0.8)
        self.head = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.lift(x)))
        x = F.leaky_relu(self.narrow(x), 0.1)
        x = F.mish(self.hidden(x.flatten(1)))
        return self.head(self.drop(x))


def sparse_units() -> Program:
    images, labels, held_images, held_labels = digits()

    def passes() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(images))
        for start in range(0, len(order) - 63, 64):
            yield images[order[start : start + 64]], labels[order[start : start + 64]]

    def training_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.nll_loss(F.log_softmax(model(batch[0]), dim=-1), batch[1])

    return Program(
        batches=passes,
        model=Sparse,
        loss=training_loss,
        optimizer=lambda model: torch.optim.RMSprop(model.parameters(), lr=1e-3),
        predict=lambda model, batch: F.log_softmax(model(batch[0]), dim=-1),
        criterion=lambda log_p, batch: F.nll_loss(log_p, batch[1]),
        validation=lambda: [(held_images, held_labels)],
    )


# H17: bytes, one channel, wide, channels last; the net itself makes them numbers around 0.


class Plates(Dataset):
    """Two digits side by side, as bytes (12, 24, 1); the answer is the left one."""

    def __init__(self, held_out: bool = False) -> None:
        images, labels = digits()[2:] if held_out else digits()[:2]
        partner = torch.arange(len(images)).roll(7)
        wide = torch.cat([images, images[partner]], 3)
        self.pixels = (F.interpolate(wide, (12, 24), mode="bilinear") * 255).byte().permute(0, 2, 3, 1).contiguous()
        self.left = labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.pixels[index], "digit": int(self.left[index])}


class PlateReader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(78.0))
        self.register_buffer("std", torch.tensor(90.0))
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Linear(24 * 3 * 6, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 3, 1, 2).float()  # a view: the memory stays channels last
        return self.fc(self.conv((x - self.mean) / self.std).flatten(1))


def bytes_wide() -> Program:
    plates, held = Plates(), Plates(held_out=True)
    return Program(
        batches=lambda: DataLoader(plates, batch_size=64, shuffle=True),
        model=lambda: PlateReader().to(memory_format=torch.channels_last),
        loss=lambda model, batch: F.cross_entropy(model(batch["image"]), batch["digit"]),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=5e-3),
        predict=lambda model, batch: model(batch["image"]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch["digit"]),
        dataset=plates,
        validation=lambda: DataLoader(held, batch_size=125),
        planned_steps=400,
    )


def plate_accuracy(model: nn.Module) -> float:
    held = Plates(held_out=True)
    return (model(held.pixels).argmax(1) == held.left).float().mean().item()


ODD = (
    Odd(
        id="H08",
        name="neural collapse",
        program=neural_collapse,
        why="Loss and gradients are nearly 0 and nearly all the variance of 64 features lies in 9 directions: a classifier that is trained to the end.",
        metric=accuracy,
        baseline=0.9,
        steps=20,
    ),
    Odd(
        id="H10",
        name="99 to 1",
        program=imbalance,
        why="Most batches hold one class only and the best constant costs .056: the rare class is learned all the same.",
        metric=ranking,
        baseline=0.7,
        steps=100,
    ),
    Odd(
        id="H11",
        name="label smoothing and mixup",
        program=smoothing_and_mixup,
        why="The loss stays far from 0 and training accuracy is poor: the labels are soft by design.",
        metric=accuracy,
        baseline=0.7,
        steps=80,
    ),
    Odd(
        id="H12",
        name="silent units and dropout 0.8",
        program=sparse_units,
        why="Four activations in five are 0 and four units in five are dropped: enough remain.",
        metric=accuracy,
        baseline=0.7,
        steps=80,
    ),
    Odd(
        id="H17",
        name="bytes, one channel, not square",
        program=bytes_wide,
        why="Inputs are bytes up to 255, wide and channels last: the model itself puts them in order.",
        metric=plate_accuracy,
        baseline=0.5,
        steps=100,
    ),
)
