"""Made-up pictures that agree with their neighbours as photographs do, and programs that learn from them."""

from __future__ import annotations

from typing import Any

import torch
from asking import found
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from selfsight.check import Check, Grade
from selfsight.planted import tiny
from selfsight.program import Program


def alarms(check: Check, program: Program) -> list[tuple[Grade, str]]:
    return [(finding.grade, finding.cause) for finding in found(check, program) if finding.alarms]


def photographs(count: int = 96, side: int = 16, seed: int = 0) -> Tensor:
    """(count, 3, side, side) soft coloured blobs: neighbouring pixels and channels agree, as in photographs."""
    drawn = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=drawn) + 0.3 * torch.rand(count, 3, 4, 4, generator=drawn)
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conv_net(outputs: int = 3, channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, outputs),
    )


def of_pictures(pictures: Tensor, labels: Tensor | None = None, **more: Any) -> Program:
    """A classifier of these pictures."""
    labels = torch.arange(len(pictures)) % 3 if labels is None else labels
    data = TensorDataset(pictures, labels)
    channels = pictures.shape[1]
    return tiny(
        **{
            "batches": lambda: DataLoader(data, batch_size=16, shuffle=True),
            "model": lambda: conv_net(3, channels),
            **more,
        }
    )
