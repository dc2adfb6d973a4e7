"""A host is one stranger's healthy training, cut into the pieces they wrote, so that any one piece can be replaced by a faulty one.

The hosts stand in `hosts/`, one per file and style; the faults in `faults/` replace pieces. A host knows nothing of the doctor:
`program()` hands over what that user would have at hand, `score()` trains by the very same pieces and tells the number they care for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from selfsight.program import Program

Batch = Any


def same(x: Any) -> Any:
    """The last activation of a net that has none."""
    return x


@dataclass(frozen=True)
class Slot:
    """Where something stands in an item, and in a batch, of one host: both have the same structure."""

    get: Callable[[Any], Any]
    put: Callable[[Any, Any], Any]
    """(item or batch, new value) -> a copy of it with that value."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A healthy training. Functions that take a Host take it to reach its other pieces."""

    name: str
    steps: int
    """Steps of one training."""
    rate: float
    """Learning rate."""
    encoder: str
    """Name of the model's submodule that sees pictures."""
    head: str
    """Name of the submodule after it."""
    pictures: Callable[[bool], tuple[Tensor, Tensor]]
    """Training or not -> pictures (N, C, 32, 32) in 0..1 and their classes (N,)."""
    prepare: Callable[[Tensor], Tensor] = same
    """One picture -> as the net sees it."""
    augment: Callable[[Tensor], Tensor] = same
    """One prepared picture -> a random variant."""
    dataset: Callable[[Host, bool], Sequence[Any]]
    """(host, training or not) -> indexable items."""
    loader: Callable[[Sequence[Any], bool], Iterable[Batch]]
    """(items, shuffle) -> one pass over batches."""
    model: Callable[[], nn.Module]
    forward: Callable[[nn.Module, Batch], Any]
    """What the net says, before the last activation."""
    activation: Callable[[Any], Any] = same
    criterion: Callable[[Any, Batch], Tensor]
    optimizer: Callable[[nn.Module, float], Optimizer]
    """(the module whose parameters are trained, rate) -> optimizer."""
    step: Callable[[Host, nn.Module, Optimizer, Batch], Any] | None = None
    """Only where it is more than zero_grad, backward, step."""
    between_epochs: Callable[[nn.Module, Optimizer, int], None] | None = None
    teacher: Callable[[nn.Module], nn.Module] | None = None
    follow: Callable[[nn.Module], None] | None = None
    """Moves the teacher after the student."""
    embed: Callable[[nn.Module, Batch], Tensor] | None = None
    views: Slot | None = None
    target: Slot | None = None
    metric: Callable[[Host, nn.Module], float]
    """The number the user cares for; higher is better."""
    floor: float
    """The metric of a net that knows nothing."""
    good: float
    """The metric that a clean training is above."""
    given: tuple[str, ...] = ()
    """The optional members of Program that this user would hand over."""

    def predict(self, model: nn.Module, batch: Batch) -> Any:
        """What enters the criterion."""
        return self.activation(self.forward(model, batch))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of one batch."""
        return self.criterion(self.predict(model, batch), batch)

    def program(self) -> Program:
        """The training as the doctor gets it."""
        items = self.dataset(self, True)
        step = self.step
        optional = {
            "predict": self.predict,
            "criterion": self.criterion,
            "embed": self.embed,
            "views": self.views and self.views.get,
            "dataset": items,
            "validation": lambda: self.loader(self.dataset(self, False), False),
            "planned_steps": self.steps,
        }
        return Program(
            batches=lambda: self.loader(items, True),
            model=self.model,
            loss=self.loss,
            optimizer=lambda model: self.optimizer(model, self.rate),
            step=step and (lambda model, optimizer, batch: step(self, model, optimizer, batch)),
            between_epochs=self.between_epochs,
            teacher=self.teacher,
            **{name: optional[name] for name in self.given},
        )

    def trained(self, seed: int, steps: int | None = None) -> nn.Module:
        """The model after a training of its own `steps`, or of so many."""
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        program = self.program()
        model = program.model()
        optimizer = program.optimizer(model)
        step = program.step or (lambda *given: plain_step(self, *given))
        left, epoch = steps or self.steps, 0
        while True:
            before = left
            for batch in program.batches():
                step(model, optimizer, batch)
                left -= 1
                if left == 0:
                    return model
            if left == before:
                raise ValueError(f"{self.name}: a pass over its batches yielded none.")
            if program.between_epochs:
                program.between_epochs(model, optimizer, epoch)
            epoch += 1

    def score(self, seed: int, steps: int | None = None) -> float:
        """Trains, and tells the metric, at least the floor: how far below knowing nothing an answer lies is of no interest."""
        model = self.trained(seed, steps).eval()
        with torch.no_grad():
            told = self.metric(self, model)
        return max(self.floor, told) if np.isfinite(told) else self.floor


def plain_step(host: Host, model: nn.Module, optimizer: Optimizer, batch: Batch) -> None:
    """The step that everybody writes."""
    optimizer.zero_grad()
    host.loss(model, batch).backward()
    optimizer.step()


def changed(host: Host, **pieces: Any) -> Host:
    """The host with some pieces replaced."""
    return replace(host, **pieces)
