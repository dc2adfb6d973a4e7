"""A model held still: whatever a call does to weights, buffers, modes or gradients is undone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Snapshot:
    """A model's parameters, buffers, gradients and modes as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
        self.tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self.trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self.gradients = [
            (parameter, parameter.grad, None if parameter.grad is None else parameter.grad.clone())
            for parameter in model.parameters()
        ]
        self.modes = [(module, module.training) for module in model.modules()]

    def moved(self) -> list[int]:
        """Which tensors differ from what they were. Version counters do not tell: batch statistics change without."""
        return [i for i, (tensor, value) in enumerate(self.tensors) if not same(tensor.detach(), value)]

    def restore(self, which: Sequence[int] | None = None) -> None:
        """Puts everything back, in place; of the tensors, only those numbers where `which` is given."""
        with torch.no_grad():
            for tensor, value in self.tensors if which is None else [self.tensors[i] for i in which]:
                if tensor.shape != value.shape:
                    tensor.data = value.clone()
                tensor.data.copy_(value)  # through .data: a graph that holds the tensor need not know
        for parameter, trainable in self.trainable:
            parameter.requires_grad_(trainable)
        for parameter, gradient, content in self.gradients:
            parameter.grad = gradient
            if gradient is not None and content is not None:
                gradient.copy_(content)
        for module, training in self.modes:
            module.training = training


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """After the block the model is as it was before it."""
    before = Snapshot(model)
    try:
        yield
    finally:
        before.restore()


def changed(model: nn.Module, before: Snapshot) -> dict[str, bool]:
    """Of each parameter and buffer of `model` by name: whether any bit differs from `before`."""
    values = {id(tensor): value for tensor, value in before.tensors}
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: not same(tensor.detach(), values.get(id(tensor))) for name, tensor in named}


def same(one: Tensor, other: Tensor | None) -> bool:
    """Bit-equal, not-a-number equal to itself."""
    if other is None or one.shape != other.shape:
        return False
    equal = one == other
    if one.is_floating_point():
        equal = equal | (one.isnan() & other.isnan())
    return bool(equal.all())
