"""Listening to a model's module calls, and playing a forward pass back with some of its outputs replaced.

Playing back is what makes an *output* free: every module that holds weights answers with what it answered before, and
only what stands behind the last of them (an activation, a normalisation, the loss) is computed anew, by the program's
own code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from selfsight.instruments.nest import kept, leaves, numbers, rebuilt


@dataclass
class Call:
    """One call of one module."""

    name: str
    module: nn.Module
    depth: int
    """0 for a call that no other module of the model made."""
    inputs: Any
    """(positional, by name), as given; kept as they were before the call where the listener keeps."""
    output: Any = None


class NotPlayable(Exception):
    """The forward pass cannot be played back."""


@contextlib.contextmanager
def listening(model: nn.Module, *, keep: bool = False) -> Iterator[list[Call]]:
    """Records every module call of `model` in the order in which they begin; keep copies inputs and outputs.

    A module that is reached under two names is recorded under the first.
    """
    calls: list[Call] = []
    running: list[Call] = []
    names = {id(module): name for name, module in reversed(list(model.named_modules()))}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        inputs = (args, kwargs)
        call = Call(names[id(module)], module, len(running), kept(inputs) if keep else inputs)
        calls.append(call)
        running.append(call)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        while running and running[-1].module is not module:  # left by an exception
            running.pop()
        running.pop().output = kept(output) if keep else output

    handles = [
        handle
        for module in dict.fromkeys(model.modules())
        for handle in (
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        )
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    """The innermost modules that hold weights: those with parameters of which no child has any."""
    return {
        name: module
        for name, module in model.named_modules()
        if any(True for _ in module.parameters())
        and not any(True for child in module.children() for _ in child.parameters())
    }


@dataclass(frozen=True)
class Slot:
    """One tensor that a module put out in a forward pass."""

    module: str
    call: int
    """How many calls of this module came before."""
    path: str
    """Where in its output."""


def slots_of(model: nn.Module, calls: list[Call]) -> dict[Slot, Tensor]:
    """The floating-point outputs of the innermost modules with weights, in order of calling."""
    inner, seen, found = set(weighted(model)), dict[str, int](), dict[Slot, Tensor]()
    for call in calls:
        if call.name in inner:
            number = seen.get(call.name, 0)
            seen[call.name] = number + 1
            for path, tensor in numbers(call.output).items():
                found[Slot(call.name, number, path)] = tensor
    return found


@contextlib.contextmanager
def playing(model: nn.Module, calls: list[Call], replaced: Mapping[Slot, Tensor]) -> Iterator[None]:
    """While the block runs, the innermost modules with weights answer as in `calls`, but for the `replaced` tensors.

    `calls` come from `listening(model, keep=True)` over the same code. Raises NotPlayable where the code now calls a
    module more often than it did.
    """
    inner = weighted(model)
    answers: dict[str, list[Any]] = {name: [] for name in inner}
    for call in calls:
        if call.name in inner:
            answers[call.name].append(call.output)
    counts = dict.fromkeys(inner, 0)

    def answering(name: str) -> Callable[..., Any]:
        def forward(*_: Any, **__: Any) -> Any:
            number = counts[name]
            counts[name] = number + 1
            if number >= len(answers[name]):
                raise NotPlayable(f"{name} is called more often than before")
            output = answers[name][number]
            changes = {
                path: replaced.get(Slot(name, number, path), tensor).clone() for path, tensor in leaves(output).items()
            }
            return rebuilt(output, changes)

        return forward

    own = {name: module.__dict__.get("forward") for name, module in inner.items()}
    try:
        for name, module in inner.items():
            module.__dict__["forward"] = answering(name)
        yield
    finally:
        for name, module in inner.items():
            module.__dict__.pop("forward", None)
            if own[name] is not None:
                module.__dict__["forward"] = own[name]
