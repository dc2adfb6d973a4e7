"""Pieces of the small programs that the checks on networks are shown, as people write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from asking import found
from torch import Tensor, nn

from selfsight.check import Check
from selfsight.checks.ignored_input import IgnoredInput
from selfsight.checks.mixed_examples import MixedExamples
from selfsight.checks.modes import Modes
from selfsight.checks.shape_honesty import ShapeHonesty
from selfsight.checks.signal_depth import SignalDepth
from selfsight.planted import Quarters, tiny
from selfsight.program import Program

CHECKS = (MixedExamples(), IgnoredInput(), ShapeHonesty(), SignalDepth(), Modes())


DATA = Quarters()


def alarms(check: Check, program: Program) -> list[str]:
    return [f"{one.component}/{one.cause}" for one in found(check, program) if one.alarms]


def mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Made(nn.Module):
    """A net of given parts and a given forward."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.written = forward

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.written(self, *given, **named)


def made(forward: Callable[..., Any], **parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Made(forward, **{name: make() for name, make in parts.items()})


def pairs(size: int = 16) -> Iterator[tuple[Tensor, Tensor]]:
    """Two noisy views of each picture."""
    for rows in torch.randperm(64).split(size):
        x = DATA.pictures[rows]
        yield x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)


def encoder() -> nn.Module:
    return nn.Sequential(nn.Flatten(), mlp(64, 32, 16))


def two(loss: Callable[[nn.Module, Any], Tensor], model: Callable[[], nn.Module] = encoder, **more: Any) -> Program:
    return tiny(**{"batches": pairs, "model": model, "loss": loss, **more})
