"""Healthy programs whose optimizer or step looks wrong: LARS at rate 4.8; accumulation with skipped steps and a rate of 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits, textures
from selfsight.program import Program

# H02: a large-batch recipe, rate 4.8 for layer-wise normalised steps.


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017): steps as long as a share of the weights they change."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.9, trust: float = 2e-4) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 1e-6})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                change = weight.grad
                if weight.ndim > 1:
                    change = change + group["weight_decay"] * weight
                    change = change * (group["trust"] * weight.norm() / (change.norm() + 1e-9))
                else:
                    change = change * group["trust"] * 10
                velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
                velocity.mul_(group["momentum"]).add_(change)
                weight.sub_(group["lr"] * velocity)
        return None


class TextureNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def lars() -> Program:
    images, labels = textures()
    held_images, held_labels = textures(count=240, held_out=True)
    criterion = nn.CrossEntropyLoss()

    def compute_loss(model: nn.Module, batch: Any) -> Tensor:
        inputs, targets = batch
        return criterion(model(inputs), targets)

    return Program(
        batches=lambda: DataLoader(TensorDataset(images, labels), batch_size=128, shuffle=True, drop_last=True),
        model=TextureNet,
        loss=compute_loss,
        optimizer=lambda model: LARS(model.parameters(), lr=4.8),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda outputs, batch: criterion(outputs, batch[1]),
        dataset=TensorDataset(images, labels),
        validation=lambda: [(held_images, held_labels)],
        planned_steps=300,
    )


def texture_accuracy(model: nn.Module) -> float:
    images, labels = textures(count=240, held_out=True)
    return (model(images).argmax(1) == labels).float().mean().item()


# H14: micro-batches of 16, eight to a step, half precision with a scaler that starts far too high, rate 0 at step 0.

ACCUMULATE = 8
WARM_UP = 4
RATE = 0.2


class ScaledSGD(torch.optim.SGD):
    """SGD that carries its own loss scaler and counts."""

    def __init__(self, params: Iterable[nn.Parameter]) -> None:
        super().__init__(params, lr=0.0, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
        self.micro_batches = 0
        self.updates = 0


def micro_step(model: nn.Module, optimizer: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Adds one micro-batch to the gradient; every eighth call makes the step, unless the scaler sees an overflow."""
    loss = half_precision_loss(model, batch)
    optimizer.scaler.scale(loss / ACCUMULATE).backward()
    optimizer.micro_batches += 1
    if optimizer.micro_batches % ACCUMULATE == 0:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, optimizer.updates / WARM_UP)
        before = optimizer.scaler.get_scale()
        optimizer.scaler.step(optimizer)
        optimizer.scaler.update()
        if optimizer.scaler.get_scale() >= before:  # otherwise it skipped the step
            optimizer.updates += 1
        optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def half_precision_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(x)
    return F.cross_entropy(logits.float(), y)


def accumulation() -> Program:
    images, labels, _, _ = digits()
    return Program(
        batches=lambda: DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True),
        model=lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        ),
        loss=half_precision_loss,
        optimizer=lambda model: ScaledSGD(model.parameters()),
        step=micro_step,
        planned_steps=800,
    )


def digit_accuracy(model: nn.Module) -> float:
    _, _, images, labels = digits()
    return (model(images).argmax(1) == labels).float().mean().item()


ODD = (
    Odd(
        id="H02",
        name="LARS at rate 4.8",
        program=lars,
        why="A rate of 4.8 would tear any net apart, but LARS takes it times a small share of the length of the weights.",
        metric=texture_accuracy,
        baseline=0.6,
        steps=60,
    ),
    Odd(
        id="H14",
        name="accumulation, skipped steps, rate 0 at first",
        program=accumulation,
        why="For dozens of calls nothing moves and gradients grow: eight calls make one step, the scaler skips its first "
        "overflows, and the warm-up starts at 0.",
        metric=digit_accuracy,
        baseline=0.6,
        steps=320,
    ),
)
