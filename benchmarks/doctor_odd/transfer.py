"""Healthy programs that start from trained weights: a probe at rate 30, fine-tuning at rate 1e-6, a frozen teacher."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits
from doctor_odd.training import kept_randomness
from selfsight.program import Program


def accuracy(model: nn.Module) -> float:
    """The share of held-out digits named rightly."""
    _, _, images, labels = digits()
    return (model(images).argmax(1) == labels).float().mean().item()


# H01: the linear evaluation of a contrastive encoder, whose features are small: a rate of 30 is what a sweep finds.


def encoder() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, 64),
    )


@cache
def encoder_weights() -> dict[str, Tensor]:
    """An encoder that tells every digit from all others, learned without labels from pairs of noisy, moved copies."""
    images = digits()[0]
    with kept_randomness(5):
        net = encoder()
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.1)
        for _ in range(40):
            rows = images[torch.randint(len(images), (64,))]
            moved = torch.roll(rows, (int(torch.randint(-1, 2, ())), int(torch.randint(-1, 2, ()))), (2, 3))
            one = F.normalize(net(rows + 0.1 * torch.randn_like(rows)))
            two = F.normalize(net(moved + 0.1 * torch.randn_like(rows)))
            loss = F.cross_entropy(one @ two.T / 0.2, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        small = 0.3 / net(images[:300]).norm(dim=1).mean().item()  # pooled features of big encoders are about so small
        net[-1].weight.data *= small
        net[-1].bias.data *= small
    return net.state_dict()


class LinearProbe(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.encoder.load_state_dict(encoder_weights())
        for parameter in self.encoder.parameters():
            parameter.requires_grad = False
        self.fc = nn.Linear(64, 10, bias=False)  # at such a rate a bias, whose input is 1, would swing
        nn.init.normal_(self.fc.weight, std=0.01)

    def train(self, mode: bool = True) -> LinearProbe:
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(x))


def linear_probe() -> Program:
    images, labels, held_images, held_labels = digits()
    return Program(
        batches=lambda: DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True),
        model=LinearProbe,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=30.0, momentum=0.9, weight_decay=0.0
        ),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch[1]),
        embed=lambda model, batch: model.encoder(batch[0]),
        dataset=TensorDataset(images, labels),
        validation=lambda: DataLoader(TensorDataset(held_images, held_labels), batch_size=100),
        planned_steps=2000,
    )


# H03: the last gentle epochs of fine-tuning, each block slower than the one above it.


class Blocks(nn.Module):
    def __init__(self, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 2, stride=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.Conv2d(width, width, 3, padding=1), nn.GELU())
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)))


@cache
def half_trained() -> dict[str, Tensor]:
    images, labels = digits()[:2]
    with kept_randomness(6):
        net = Blocks()
        optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
        for _ in range(80):
            rows = torch.randint(len(images), (64,))
            loss = F.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.state_dict()


def pretrained_blocks() -> Blocks:
    net = Blocks()
    net.load_state_dict(half_trained())
    return net


def layer_decay(model: Any) -> torch.optim.Optimizer:
    """AdamW, rate 1e-6 at the head and 0.65 of the layer above at every layer below."""
    layers = [model.stem, *model.blocks, model.head]
    groups = [
        {"params": list(layer.parameters()), "lr": 1e-6 * 0.65**depth} for depth, layer in enumerate(reversed(layers))
    ]
    return torch.optim.AdamW(groups, lr=1e-6, weight_decay=0.05)


def fine_tuning() -> Program:
    images, labels, held_images, held_labels = digits()

    def passes() -> Any:
        for rows in torch.randperm(len(images)).split(48):
            yield {"pixels": images[rows], "label": labels[rows]}

    return Program(
        batches=passes,
        model=pretrained_blocks,
        loss=lambda model, batch: F.cross_entropy(model(batch["pixels"]), batch["label"]),
        optimizer=layer_decay,
        predict=lambda model, batch: model(batch["pixels"]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch["label"]),
        validation=lambda: [{"pixels": held_images[:250], "label": held_labels[:250]}],
        planned_steps=5000,
    )


def fit(model: nn.Module) -> float:
    """Minus the cross entropy over all digits trained on."""
    images, labels = digits()[:2]
    return -F.cross_entropy(model(images), labels).item()


# H24: a student that never sees a label, and a teacher that is in no module of the program's model.


@cache
def teacher() -> nn.Module:
    images, labels = digits()[:2]
    with kept_randomness(7):
        net = nn.Sequential(*copy.deepcopy(list(encoder())[:-1]), nn.BatchNorm1d(32 * 16), nn.Linear(32 * 16, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        for _ in range(60):
            rows = torch.randint(len(images), (64,))
            loss = F.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


def distillation(temperature: float = 4.0) -> Program:
    images = digits()[0]
    old_hand = teacher()

    def softened(logits: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = F.softmax(old_hand(x) / temperature, 1)
        return F.kl_div(F.log_softmax(logits / temperature, 1), wanted, reduction="batchmean") * temperature**2

    return Program(
        batches=lambda: DataLoader(images, batch_size=64, shuffle=True),
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.Tanh(), nn.Linear(40, 10)),
        loss=lambda model, x: softened(model(x), x),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=5e-3),
        predict=lambda model, x: model(x),
        criterion=softened,
        planned_steps=400,
    )


ODD = (
    Odd(
        id="H01",
        name="linear probe at rate 30",
        program=linear_probe,
        why="Most parameters never move and the rate is 30: the encoder is frozen on purpose and its features are small.",
        metric=accuracy,
        baseline=0.5,
        steps=100,
    ),
    Odd(
        id="H03",
        name="fine-tuning at rate 1e-6",
        program=fine_tuning,
        why="Weights hardly move and the loss hardly falls: the net is trained already and is being polished.",
        metric=fit,
        baseline=fit,
        steps=60,
    ),
    Odd(
        id="H24",
        name="distillation from a frozen teacher",
        program=distillation,
        why="There are no labels, and the targets come from a net that never moves and that no parameter list knows.",
        metric=accuracy,
        baseline=0.5,
        steps=100,
    ),
)
