"""Healthy programs with odd targets: differences of a thousandth, and a map of classes whose loss is a sum of thousands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import photographs
from selfsight.program import Program

# H20: a length in metres that differs by a millimetre or two from part to part: the loss is a few millionths.


def parts(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 1, 12, 12) pictures of a soft bar on a photograph's grain, and the bar's length in metres."""
    generator = torch.Generator().manual_seed(seed)
    length = 3 + 6 * torch.rand(count, 1, 1, 1, generator=generator)
    row = torch.arange(12.0).view(1, 1, 12, 1)
    column = torch.arange(12.0).view(1, 1, 1, 12)
    bar = torch.sigmoid(2 * (length - column)) * torch.exp(-((row - 6) ** 2) / 4)
    grain = photographs(side=12, count=count)[:, :1]
    return 0.7 * bar + 0.3 * grain, 0.25 + 0.001 * length.view(-1)


class Gauge(nn.Module):
    """Answers in metres: the usual length and spread are part of the model."""

    def __init__(self, usual: float = 0.256, spread: float = 0.0017) -> None:
        super().__init__()
        self.usual, self.spread = usual, spread
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 36, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.usual + self.spread * self.net(x).squeeze(1)


def gauge() -> Program:
    pictures, metres = parts(500, seed=0)

    def loader() -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(500).view(-1, 50):
            yield pictures[index], metres[index]

    return Program(
        batches=loader,
        model=Gauge,
        loss=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=2e-3, eps=1e-12),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda metres, batch: F.mse_loss(metres, batch[1]),
        validation=lambda: [parts(100, seed=1)],
        planned_steps=600,
    )


def length_told(model: nn.Module) -> float:
    """R squared on held-out parts."""
    pictures, metres = parts(100, seed=1)
    return 1 - (F.mse_loss(model(pictures), metres) / metres.var(correction=0)).item()


# H21: a class for each pixel, summed over all of them; the border between two classes is not asked for.


class Scenes(Dataset):
    """Discs and squares on photographs (3, 24, 24), and the class of each pixel: ground, disc, square, or 255."""

    def __init__(self, count: int = 300, held_out: bool = False) -> None:
        self.grounds = photographs(side=24, count=count, held_out=held_out)
        self.seed = 1 if held_out else 0

    def __len__(self) -> int:
        return len(self.grounds)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        generator = torch.Generator().manual_seed(2 * index + self.seed)
        y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
        cy, cx, radius = (5 + 14 * torch.rand((), generator=generator) for _ in range(3))
        radius = 3 + radius / 8
        kind = 1 + index % 2
        distance = torch.hypot(y - cy, x - cx) if kind == 1 else torch.maximum((y - cy).abs(), (x - cx).abs())
        classes = torch.where(distance < radius, kind, 0)
        classes[(distance - radius).abs() < 0.5] = 255
        colour = torch.rand(3, 1, 1, generator=generator)
        return torch.where(distance < radius, 0.3 * self.grounds[index] + 0.7 * colour, self.grounds[index]), classes


class SmallUNet(nn.Module):
    def __init__(self, classes: int = 3, width: int = 12) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )

        self.down1, self.down2 = double(3, width), double(width, 2 * width)
        self.middle = double(2 * width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.out = nn.Conv2d(2 * width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down1(x)
        x = self.middle(self.down2(F.max_pool2d(skip, 2)))
        return self.out(torch.cat([self.up(x), skip], 1))


def segmentation() -> Program:
    criterion = nn.CrossEntropyLoss(ignore_index=255, reduction="sum")

    def step(model: nn.Module, optimizer: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        model.train()
        loss = criterion(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Program(
        batches=lambda: DataLoader(Scenes(), batch_size=16, shuffle=True),
        model=SmallUNet,
        loss=lambda model, batch: criterion(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2),
        step=step,
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: criterion(logits, batch[1]),
        dataset=Scenes(),
        validation=lambda: DataLoader(Scenes(60, held_out=True), batch_size=20),
        planned_steps=600,
    )


def overlap(model: nn.Module) -> float:
    """Intersection over union of foreground, of whatever kind, over held-out scenes; all ground gives 0."""
    scenes = Scenes(60, held_out=True)
    pictures, classes = (torch.stack(column) for column in zip(*(scenes[i] for i in range(60)), strict=True))
    said, true, asked = model(pictures).argmax(1) > 0, (classes > 0) & (classes < 255), classes < 255
    return ((said & true & asked).sum() / ((said | true) & asked).sum()).item()


ODD = (
    Odd(
        id="H20",
        name="targets that differ by a thousandth",
        program=gauge,
        why="Loss and gradients are millionths, for lengths are in metres: the net measures them all the same.",
        metric=length_told,
        baseline=0.2,
        steps=60,
    ),
    Odd(
        id="H21",
        name="a summed loss over pixels",
        program=segmentation,
        why="The loss is in the thousands and the last batch's is smaller: it is a sum over pixels, not a mean.",
        metric=overlap,
        baseline=0.25,
        steps=60,
    ),
)
