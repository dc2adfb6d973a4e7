"""Faults of the loop: what is done with a batch, and between epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from torch import nn
from torch.optim import Optimizer

from doctor_programs.faults.fault import Fault
from doctor_programs.faults.optimizer import fresh
from doctor_programs.host import Batch, Host, changed


def acts_apart(host: Host) -> bool:
    """Whether train and eval differ at all."""
    return any(
        "BatchNorm" in type(part).__name__ or "Dropout" in type(part).__name__ for part in host.model().modules()
    )


def train_in_eval(host: Host) -> Host | None:
    def step(self: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
        model.eval()
        optimizer.zero_grad()
        self.loss(model, batch).backward()
        optimizer.step()
        if self.follow:
            self.follow(model)

    return changed(host, step=step) if acts_apart(host) else None


def never_back_to_train(host: Host) -> Host | None:
    """The validation after an epoch calls eval, and nobody calls train again."""
    if not acts_apart(host):
        return None

    def between_epochs(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
        if host.between_epochs:
            host.between_epochs(model, optimizer, epoch)
        model.eval()

    return changed(host, between_epochs=between_epochs)


def no_zero_grad(host: Host) -> Host:
    def step(self: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
        self.loss(model, batch).backward()
        optimizer.step()
        if self.follow:
            self.follow(model)

    return changed(host, step=step)


def step_before_backward(host: Host) -> Host:
    def step(self: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
        loss = self.loss(model, batch)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
        if self.follow:
            self.follow(model)

    return changed(host, step=step)


def no_step(host: Host) -> Host:
    def step(self: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
        optimizer.zero_grad()
        self.loss(model, batch).backward()
        if self.follow:
            self.follow(model)

    return changed(host, step=step)


def init_each_epoch(host: Host) -> Host:
    """The call that initialises the weights stands inside the loop over epochs."""

    def between_epochs(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
        if host.between_epochs:
            host.between_epochs(model, optimizer, epoch)
        fresh(model)

    return changed(host, between_epochs=between_epochs)


def reload_each_epoch(host: Host) -> Host:
    """The best weights are loaded after each epoch, but they were only saved at the start."""
    saved: dict[str, Any] = {}

    def build() -> nn.Module:
        model = host.model()
        saved["best"] = deepcopy(model.state_dict())
        return model

    def between_epochs(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
        if host.between_epochs:
            host.between_epochs(model, optimizer, epoch)
        model.load_state_dict(saved["best"])

    return changed(host, model=build, between_epochs=between_epochs)


def first_batch_forever(host: Host) -> Host:
    """`next(iter(loader))` in every step."""

    def loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
        if not shuffle:
            yield from host.loader(items, False)
            return
        for _ in host.loader(range(len(items)), False):
            yield next(iter(host.loader(items, False)))

    return changed(host, loader=loader)


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "loop", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault("F27", "training steps in eval mode", "train-eval-mode", train_in_eval),
    fault("F27b", "eval after the first epoch, for good", "train-eval-mode", never_back_to_train),
    fault("F46", "no zero_grad", "no-zero-grad", no_zero_grad),
    fault("F47", "step before backward", "step-before-backward no-step", step_before_backward),
    fault("F47b", "no step", "no-step", no_step),
    fault("F51", "weights initialised each epoch", "model-rebuilt", init_each_epoch),
    fault("F51b", "first checkpoint reloaded each epoch", "model-rebuilt", reload_each_epoch),
    fault("F52", "the first batch for ever", "one-batch-forever", first_batch_forever),
)
