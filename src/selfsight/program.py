"""A program is any training in PyTorch, as callables that can be run again from scratch: what the doctor examines.

It names no framework. Only four callables are needed; each further one lets more checks apply.

Shapes: N examples in a batch, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from selfsight.errors import UserError

REQUIRED = ("batches", "model", "loss", "optimizer")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A training to be examined. Every callable may be called again and again; the doctor leaves no trace."""

    batches: Callable[[], Iterable[Any]]
    """A fresh pass over training batches, exactly as training sees them. A batch may be any nest of tensors."""
    model: Callable[[], nn.Module]
    """A fresh model."""
    loss: Callable[[nn.Module, Any], Tensor]
    """(model, batch) -> the scalar loss of one batch."""
    optimizer: Callable[[nn.Module], Optimizer]
    """An optimizer for the model it is given."""
    step: Callable[[nn.Module, Optimizer, Any], Any] | None = None
    """One training step, where it is more than zero_grad, loss, backward, step: clipping, a momentum twin."""
    predict: Callable[[nn.Module, Any], Any] | None = None
    """(model, batch) -> what enters the criterion: a tensor, or a tuple or dict of tensors."""
    criterion: Callable[[Any, Any], Tensor] | None = None
    """(prediction, batch) -> scalar loss; goes with `predict`."""
    embed: Callable[[nn.Module, Any], Tensor] | None = None
    """(model, batch) -> (N, D), the representation that is kept."""
    views: Callable[[Any], tuple[Tensor, Tensor]] | None = None
    """batch -> its two views, row i of one belonging to row i of the other, where there are two."""
    teacher: Callable[[nn.Module], nn.Module] | None = None
    """model -> the momentum twin inside it."""
    dataset: Sequence[Any] | None = None
    """The indexable items behind the batches."""
    validation: Callable[[], Iterable[Any]] | None = None
    """A pass over validation batches, of the same structure as the training's."""
    between_epochs: Callable[[nn.Module, Optimizer, int], None] | None = None
    """(model, optimizer, epoch that has ended, from 0): schedules, unfreezing, rebuilding."""
    planned_steps: int | None = None
    """How many steps the training is to make."""

    def __post_init__(self) -> None:
        for name in REQUIRED:
            if not callable(getattr(self, name)):
                raise UserError(f"Program.{name} is {getattr(self, name)!r}: give a function that can be called again.")
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name not in ("dataset", "planned_steps") and not callable(value):
                raise UserError(f"Program.{field.name} is {value!r}: give a function, or leave it out.")
        if (self.predict is None) != (self.criterion is None):
            raise UserError("Program.predict and Program.criterion go together: give both, or neither.")
        if self.planned_steps is not None and self.planned_steps < 1:
            raise UserError(f"Program.planned_steps is {self.planned_steps}: give at least 1, or leave it out.")
