"""Listening to the torch functions that run, and leaving activations out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from selfsight.instruments.place import Place, in_model, of_caller

ACTIVATIONS = {
    "softmax", "log_softmax", "sigmoid", "logsigmoid", "tanh", "relu", "relu_", "gelu", "silu", "elu", "leaky_relu",
    "hardtanh", "hardsigmoid", "softplus", "sigmoid_", "tanh_", "relu6", "clamp", "clamp_", "softsign", "mish",
}  # fmt: skip
"""Functions that bend or bound a tensor element by element or along one dimension, and keep its shape."""
CRITERIA = {
    "cross_entropy", "nll_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss",
    "l1_loss", "smooth_l1_loss", "huber_loss", "margin_ranking_loss", "triplet_margin_loss", "cosine_embedding_loss",
    "hinge_embedding_loss", "multi_margin_loss", "multilabel_soft_margin_loss", "poisson_nll_loss",
}  # fmt: skip
"""torch's own losses: what they were given can be held against what they expect."""
MET = {"binary_cross_entropy", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
"""Criteria that are least where the answers are their targets, element by element."""
SHARPENED = {"cross_entropy", "log_softmax", "binary_cross_entropy_with_logits", "sigmoid", "softmax", "logsigmoid"}
"""Functions whose first argument is logits."""


@dataclass
class Used:
    """One call of a torch function."""

    name: str
    place: Place
    inputs: tuple[Any, ...]
    """Positional arguments, then the keyword arguments `input`, `target`, ... in `named`."""
    named: dict[str, Any]
    output: Any = None
    in_model: bool = False
    """Whether a module with weights called it, not the loss."""


class _Listener(TorchFunctionMode):
    def __init__(self, names: set[str], drop: bool) -> None:
        super().__init__()
        self.names, self.drop, self.used, self.inside = names, drop, list[Used](), 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in self.names or self.inside:
            return func(*args, **kwargs)
        if self.drop and args and isinstance(args[0], Tensor):
            return args[0].clone()
        used = Used(name, of_caller(name), args, kwargs, in_model=in_model())
        self.used.append(used)
        self.inside += 1  # torch's functions call one another: nn.functional.softmax calls Tensor.softmax
        try:
            with self:
                used.output = func(*args, **kwargs)
        finally:
            self.inside -= 1
        return used.output


@contextlib.contextmanager
def noting(names: set[str]) -> Iterator[list[Used]]:
    """Records calls of the torch functions of these names, the outermost only, in order."""
    listener = _Listener(names, drop=False)
    with listener:
        yield listener.used


class _Bender(TorchFunctionMode):
    def __init__(self, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.bend, self.inside = bend, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") not in SHARPENED or self.inside or not args or not isinstance(args[0], Tensor):
            return func(*args, **(kwargs or {}))
        self.inside += 1  # torch's functions call one another: logits are bent once
        try:
            with self:
                return func(self.bend(args[0]), *args[1:], **(kwargs or {}))
        finally:
            self.inside -= 1


@contextlib.contextmanager
def bent(bend: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While the block runs, `bend` is applied to logits before any function takes them."""
    with _Bender(bend):
        yield


def sharpened(factor: float) -> contextlib.AbstractContextManager[None]:
    """While the block runs, logits are multiplied."""
    return bent(lambda logits: logits * factor)


@contextlib.contextmanager
def without_activations() -> Iterator[None]:
    """While the block runs, activations hand their input through."""
    with _Listener(ACTIVATIONS, drop=True):
        yield


class _Answering(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.answered: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if name not in MET or not args or not isinstance(target, Tensor) or target.shape != args[0].shape:
            return func(*args, **kwargs)
        self.answered.append(name)
        return func(target.to(args[0].dtype), *args[1:], **kwargs)


@contextlib.contextmanager
def answering() -> Iterator[list[str]]:
    """While the block runs, torch's element-wise criteria are given their targets as answers; notes which were."""
    mode = _Answering()
    with mode:
        yield mode.answered


class _Uncut(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("detach", "detach_") and args:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def uncut() -> Iterator[None]:
    """While the block runs, neither detach nor no_grad cuts a gradient."""
    enter = torch.no_grad.__enter__
    torch.no_grad.__enter__ = lambda self: setattr(self, "prev", torch.is_grad_enabled())  # type: ignore[method-assign]
    try:
        with _Uncut():
            yield
    finally:
        torch.no_grad.__enter__ = enter  # type: ignore[method-assign]


@contextlib.contextmanager
def ending(last: Iterable[nn.Module], mode: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """In the block `mode` holds from the first of the last modules' outputs on: it bends the ending, not the model."""
    entered: list[bool] = []

    def after(*_: Any) -> None:
        if not entered:
            mode.__enter__()
            entered.append(True)

    handles = [module.register_forward_hook(after) for module in last]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if entered:
            mode.__exit__(None, None, None)


def argument(used: Used, place: int, name: str) -> Any:
    """The argument of a call by its position or its name; None where it was not given."""
    return used.inputs[place] if place < len(used.inputs) else used.named.get(name)
