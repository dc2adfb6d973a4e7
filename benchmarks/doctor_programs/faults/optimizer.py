"""Faults of the optimizer: who is moved, and how far."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from doctor_programs.faults.fault import Fault, mapped, rebuilt
from doctor_programs.host import Batch, Host, changed


def fresh(module: nn.Module) -> nn.Module:
    """The module with new weights."""
    for part in module.modules():
        if callable(getattr(part, "reset_parameters", None)):
            part.reset_parameters()  # type: ignore[operator]
    return module


def replace_head_after(host: Host) -> Host:
    """The head is exchanged when the optimizer is there already."""

    def optimizer(model: nn.Module, rate: float) -> Optimizer:
        made = host.optimizer(model, rate)
        model.set_submodule(host.head, fresh(deepcopy(model.get_submodule(host.head))))
        return made

    return changed(host, optimizer=optimizer)


class Only(nn.Module):
    """A part of a model, to be handed to an optimizer."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.kept = nn.ParameterList(parameters)


def without(model: nn.Module, left_out: str) -> Only:
    """The trained parameters outside one submodule."""
    there = {id(parameter) for parameter in model.get_submodule(left_out).parameters()}
    return Only(parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in there)


def forget_head(host: Host) -> Host:
    return changed(host, optimizer=lambda model, rate: host.optimizer(without(model, host.head), rate))


def forget_encoder(host: Host) -> Host:
    return changed(host, optimizer=lambda model, rate: host.optimizer(without(model, host.encoder), rate))


def rate_times(factor: float) -> Any:
    """An injection that multiplies the rate."""
    return lambda host: changed(host, rate=host.rate * factor)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def lars_rate_in_adam(host: Host) -> Host:
    return changed(host, rate=0.2, optimizer=lambda model, rate: Adam(trainable(model), lr=rate))


def schedule_per_batch(host: Host) -> Host:
    """A decay over ten epochs is stepped once per batch."""

    def optimizer(model: nn.Module, rate: float) -> Optimizer:
        made = host.optimizer(model, rate)
        made.decay = LambdaLR(made, lambda epoch: max(0.0, 1 - epoch / 10))  # type: ignore[attr-defined]
        return made

    def step(self: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
        optimizer.zero_grad()
        self.loss(model, batch).backward()
        optimizer.step()
        optimizer.decay.step()  # type: ignore[attr-defined]
        if self.follow:
            self.follow(model)

    return changed(host, optimizer=optimizer, step=step)


class Unfreezer:
    """Thaws the modules that are named for an epoch."""

    def __init__(self, schedule: dict[str, dict[int, str]]) -> None:
        self.schedule = schedule

    def __call__(self, model: nn.Module, epoch: int) -> None:
        name = self.schedule.get("epoch", {}).get(epoch)
        if name:
            model.get_submodule(name).requires_grad_(True)


def never_unfreeze(host: Host) -> Host:
    """The schedule is keyed to 'layers', the unfreezer looks for 'epoch'."""
    unfreezer = Unfreezer({"layers": {0: host.encoder}})

    def between_epochs(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
        if host.between_epochs:
            host.between_epochs(model, optimizer, epoch)
        unfreezer(model, epoch)

    frozen = rebuilt(host, lambda model: model.get_submodule(host.encoder).requires_grad_(False))
    return changed(frozen, between_epochs=between_epochs)


def brain_float(host: Host) -> Host:
    """Weights kept in bfloat16, stepped at the rate of a fine-tuning."""

    def forward(model: nn.Module, batch: Batch) -> Any:
        cast = mapped(lambda part: part.bfloat16() if part.is_floating_point() else part, batch)
        return mapped(Tensor.float, host.forward(model, cast))

    narrow = rebuilt(host, lambda model: model.to(torch.bfloat16))
    embed = host.embed and (lambda model, batch: _embedded(host, model, batch))
    return changed(narrow, forward=forward, embed=embed, rate=host.rate / 20)


def _embedded(host: Host, model: nn.Module, batch: Batch) -> Tensor:
    assert host.embed is not None
    return host.embed(model, mapped(lambda part: part.bfloat16() if part.is_floating_point() else part, batch)).float()


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "optimizer", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault(
        "F39",
        "head replaced after the optimizer was made",
        "stale-parameters not-in-optimizer",
        replace_head_after,
        place="{head}",
    ),
    fault("F40", "head missing from the optimizer", "not-in-optimizer", forget_head, place="{head}"),
    fault("F40b", "encoder missing from the optimizer", "not-in-optimizer", forget_encoder, place="{encoder}"),
    fault("F42", "rate x 1000", "rate-too-large", rate_times(1000)),
    fault("F42b", "rate / 10000", "rate-too-small", rate_times(1e-4)),
    fault("F42c", "LARS rate in Adam", "rate-too-large", lars_rate_in_adam),
    fault("F43", "scheduler stepped per batch", "rate-zero", schedule_per_batch),
    fault("F44", "unfreezing never fires", "never-unfreezes", never_unfreeze, place="{encoder}"),
    fault("F45", "bfloat16 weights, small rate", "lost-updates rate-too-small", brain_float),
)
