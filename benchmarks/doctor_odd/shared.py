"""Healthy programs of several inputs per example: tied weights used four times, and triplets of which most are satisfied.

Shapes: N examples, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits
from doctor_odd.training import train
from selfsight.program import Program

# H13: one small encoder for the four quarters of a digit, and its own weights, turned round, as the decoder.


class Quarters(nn.Module):
    def __init__(self, code: int = 24) -> None:
        super().__init__()
        self.encode = nn.Linear(16, code)
        self.bias = nn.Parameter(torch.zeros(16))
        self.judge = nn.Sequential(nn.Linear(4 * code, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, digit: Tensor) -> tuple[Tensor, Tensor]:
        top, bottom = digit.split(4, dim=2)
        codes, pictures = [], []
        for half in (top, bottom):
            for quarter in half.split(4, dim=3):
                code = torch.tanh(self.encode(quarter.flatten(1)))
                codes.append(code)
                pictures.append(F.linear(code, self.encode.weight.t(), self.bias))
        return self.judge(torch.cat(codes, 1)), torch.stack(pictures, 1)


def quarters_of(digit: Tensor) -> Tensor:
    """(N, 1, 8, 8) -> (N, 4, 16)."""
    return F.unfold(digit, 4, stride=4).transpose(1, 2)


def both_terms(prediction: tuple[Tensor, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
    logits, pictures = prediction
    return F.cross_entropy(logits, batch[1]) + F.mse_loss(pictures, quarters_of(batch[0]))


def tied() -> Program:
    images, labels, _, _ = digits()
    return Program(
        batches=lambda: DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True, drop_last=True),
        model=Quarters,
        loss=lambda model, batch: both_terms(model(batch[0]), batch),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=5e-3),
        predict=lambda model, batch: model(batch[0]),
        criterion=both_terms,
        planned_steps=800,
    )


def accuracy(model: nn.Module) -> float:
    _, _, images, labels = digits()
    return (model(images)[0].argmax(1) == labels).float().mean().item()


# H18: well into a training with triplets: most ask nothing any more, and all embeddings lie far from 0 together.


class Metric(nn.Module):
    """Embeddings are never negative; the last bias starts high, so that no unit starts silent."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc2 = nn.Linear(96, 24)
        nn.init.constant_(self.fc2.bias, 6.0)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc2(F.elu(self.fc1(x.flatten(1)))))


def triplets(size: int = 48, count: int = 24) -> Iterator[dict[str, Tensor]]:
    """Anchor, another digit of its class, one of another class."""
    images, labels = digits()[:2]
    of_class = [torch.nonzero(labels == number)[:, 0] for number in range(10)]
    for _ in range(count):
        anchor = torch.randint(len(images), (size,))
        other = (labels[anchor] + torch.randint(1, 10, (size,))) % 10
        positive = torch.stack([rows[torch.randint(len(rows), ())] for rows in (of_class[k] for k in labels[anchor])])
        negative = torch.stack([rows[torch.randint(len(rows), ())] for rows in (of_class[k] for k in other)])
        yield {"anchor": images[anchor], "positive": images[positive], "negative": images[negative]}


def triplet_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    a, p, n = (model(batch[name]) for name in ("anchor", "positive", "negative"))
    return F.triplet_margin_loss(a, p, n, margin=0.5)


def triplet_from(model: type[Metric] | object) -> Program:
    return Program(
        batches=triplets,
        model=model,
        loss=triplet_loss,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
        predict=lambda net, batch: {name: net(images) for name, images in batch.items()},
        criterion=lambda z, batch: F.triplet_margin_loss(z["anchor"], z["positive"], z["negative"], margin=0.5),
        embed=lambda net, batch: net(batch["anchor"]),
        views=lambda batch: (batch["anchor"], batch["positive"]),
    )


@cache
def sorted_weights() -> dict[str, Tensor]:
    return train(triplet_from(Metric), 120, seed=10).state_dict()


def sorting() -> Metric:
    net = Metric()
    net.load_state_dict(sorted_weights())
    return net


def triplet() -> Program:
    return triplet_from(sorting)


def separation(model: nn.Module) -> float:
    """The share of held-out triples in which the digit of the same class is nearer."""
    _, _, images, labels = digits()
    distance = torch.cdist(model(images), model(images))
    same = labels[:, None] == labels[None]
    right = []
    for row in range(200):
        near = distance[row][same[row] & (torch.arange(len(labels)) != row)]
        right.append((near[:, None] < distance[row][~same[row]][None]).float().mean())
    return torch.stack(right).mean().item()


ODD = (
    Odd(
        id="H13",
        name="tied weights, called four times",
        program=tied,
        why="One parameter is met eight times in a step, and a module's weights are used outside of it.",
        metric=accuracy,
        baseline=0.5,
        steps=120,
    ),
    Odd(
        id="H18",
        name="triplets, most of them satisfied",
        program=triplet,
        why="Most terms of the loss are exactly 0, and a large common offset makes all embeddings look alike.",
        metric=separation,
        baseline=lambda model: separation(Metric()),
        steps=20,
    ),
)
