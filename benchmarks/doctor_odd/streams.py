"""A healthy program whose data never repeat: an endless stream, a random question per access, some pictures drawn more often."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import faces
from selfsight.program import Program


class Turned(Dataset):
    """A face turned by 0, 90, 180 or 270 degrees, drawn anew at each access (Gidaris et al. 2018)."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        turns = int(torch.randint(4, ()))
        face = self.images[index]
        top, left = torch.randint(3, (2,)).tolist()
        return torch.rot90(face, turns, (1, 2))[:, top : top + 22, left : left + 22], turns


class Endless(IterableDataset):
    """Goes on for ever; dark faces come three times as often."""

    def __init__(self, faces_of: Turned) -> None:
        self.faces = faces_of
        light = faces_of.images.mean((1, 2, 3))
        self.weights = torch.where(light < light.median(), 3.0, 1.0)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        while True:
            yield self.faces[int(torch.multinomial(self.weights, 1))]


class Rotations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(1, 12, 3, stride=2), nn.Conv2d(12, 24, 3, stride=2)])
        self.norms = nn.ModuleList([nn.InstanceNorm2d(12, affine=True), nn.GroupNorm(4, 24)])
        self.answer = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).relu()
        return self.answer(x.flatten(1))


def rotations() -> Rotations:
    net = Rotations()
    net(torch.zeros(1, 1, 22, 22))
    return net


def stream() -> Program:
    criterion = nn.CrossEntropyLoss()
    turned = Turned(faces()[0])
    return Program(
        batches=lambda: DataLoader(Endless(turned), batch_size=32),
        model=rotations,
        loss=lambda model, batch: criterion(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: criterion(logits, batch[1]),
        dataset=turned,
        validation=lambda: DataLoader(Turned(faces()[1]), batch_size=20),
        planned_steps=500,
    )


def turned_rightly(model: nn.Module) -> float:
    """Accuracy over the held-out faces in all four turns; chance is .25."""
    held = faces()[1][:, :, 1:23, 1:23]
    right = [(model(torch.rot90(held, turns, (2, 3))).argmax(1) == turns).float().mean() for turns in range(4)]
    return torch.stack(right).mean().item()


ODD = (
    Odd(
        id="H16",
        name="an endless stream of random questions",
        program=stream,
        why="A pass never ends, no item is the same twice, and some pictures are drawn more often: the task is random by design.",
        metric=turned_rightly,
        baseline=0.5,
        steps=100,
    ),
)
