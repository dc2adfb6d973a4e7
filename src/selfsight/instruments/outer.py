"""Tensors that a model's own code reads from outside the model: variables of its module, and of functions around it."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.instruments.nest import leaves, mapped
from selfsight.instruments.place import Place, is_users

READS = ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")
DEPTH = 3
"""How many functions that call one another are followed."""


@dataclass(frozen=True)
class Outer:
    """One outer variable that holds tensors, and the function that reads it."""

    name: str
    module: str
    """The module of the model whose code reads it."""
    function: FunctionType
    holder: dict[str, Any] | CellType

    @property
    def value(self) -> Any:
        return self.holder.cell_contents if isinstance(self.holder, CellType) else self.holder[self.name]

    def set(self, value: Any) -> None:
        """Gives the variable another value; whoever does so puts the old one back."""
        if isinstance(self.holder, CellType):
            self.holder.cell_contents = value
        else:
            self.holder[self.name] = value

    @property
    def place(self) -> Place:
        """The line that reads it."""
        line = self.function.__code__.co_firstlineno
        for code in _codes(self.function.__code__):
            at = code.co_firstlineno
            for instruction in dis.get_instructions(code):
                at = instruction.positions.lineno if instruction.positions and instruction.positions.lineno else at
                if instruction.argval == self.name and instruction.opname.startswith(
                    ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME")
                ):
                    return Place(f"{self.module}: {self.name}", code.co_filename, at)
        return Place(f"{self.module}: {self.name}", self.function.__code__.co_filename, line)


def outer_tensors(model: nn.Module) -> list[Outer]:
    """Every outer variable with tensors in it that a method of the model reads, itself or through a function."""
    found: dict[tuple[int, str], Outer] = {}
    for name, module in model.named_modules():
        for function in _methods(module):
            for outer in _read(function, name or type(module).__name__, DEPTH, set()):
                found.setdefault((id(outer.holder), outer.name), outer)
    return list(found.values())


def disturbed(value: Any) -> Any:
    """Other tensors of the same shapes and types, from the same numbers."""

    def one(_: str, tensor: Tensor) -> Tensor:
        with torch.no_grad():
            other = tensor.detach().flatten().flip(0).reshape(tensor.shape)
            if tensor.is_floating_point():
                other = other * 0.5 + tensor.detach().flatten().roll(1).reshape(tensor.shape)
            return other.clone()

    return mapped(value, one)


def _methods(module: nn.Module) -> Iterator[FunctionType]:
    own = module.__dict__.get("forward")
    if own is not None:
        yield from _functions(own)
    for written in type(module).__mro__:
        for method in vars(written).values():
            yield from _functions(method)


def _functions(thing: Any) -> Iterator[FunctionType]:
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    if isinstance(thing, property):
        thing = thing.fget
    thing = getattr(thing, "__func__", thing)
    while callable(thing):
        if isinstance(thing, FunctionType) and is_users(thing.__code__.co_filename):
            yield thing
        wrapped: Callable[..., Any] | None = getattr(thing, "__wrapped__", None) or getattr(thing, "func", None)
        if wrapped is None or wrapped is thing:
            return
        thing = wrapped


def _read(function: FunctionType, module: str, depth: int, seen: set[int]) -> Iterator[Outer]:
    if id(function) in seen or not depth:
        return
    seen.add(id(function))
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    holders: list[tuple[str, dict[str, Any] | CellType]] = [
        (name, function.__globals__) for name in sorted(names) if name in function.__globals__
    ]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        holders.append((name, cell))
    for name, holder in holders:
        outer = Outer(name, module, function, holder)
        try:
            value = outer.value
        except ValueError:  # a cell that is not filled yet
            continue
        if inspect.isfunction(value) and is_users(value.__code__.co_filename):
            yield from _read(value, module, depth - 1, seen)
        elif not isinstance(value, nn.Module | type) and leaves(value):
            yield outer


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of what is written inside it: comprehensions, lambdas."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
