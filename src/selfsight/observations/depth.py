"""What becomes of a batch on its way through a net and back: which layers fall silent, and how the scale changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from selfsight.case import Case
from selfsight.instruments.calls import weighted
from selfsight.instruments.functions import Used, noting
from selfsight.instruments.nest import numbers, rows
from selfsight.instruments.place import Place
from selfsight.instruments.snapshot import Snapshot, changed, still

RECTIFIERS = {"relu", "relu_", "relu6"}
"""Where their output is 0, no gradient comes back."""


@dataclass
class Depth:
    """What one batch did in a net, in the mode the net was in."""

    count: int
    """How many examples it had."""
    order: list[str] = field(default_factory=list)
    """The innermost modules with weights, as they were called."""
    silent: dict[int, Place] = field(default_factory=dict)
    """Rectifiers, by number, that put out nothing but 0, so that a layer behind is given the same for all examples."""
    constant: list[str] = field(default_factory=list)
    """Layers that answer all examples alike though they are given different ones."""
    gradients: dict[str, float] = field(default_factory=dict)
    """The largest entry of each layer's weight gradient, where it gets one."""
    moved: bool = False
    """Whether any parameter gets a gradient."""
    gains: list[tuple[str, float]] = field(default_factory=list)
    """How many times as large the output of each module is as that of the one that ended before it."""


def passed(case: Case, model: nn.Module, batch: Any) -> Depth:
    """One batch through the net and back; the model is left as it was."""
    depth = Depth(rows(batch) or 1)
    inner = weighted(model)
    with still(model):
        model.zero_grad(set_to_none=True)
        with noting(RECTIFIERS) as used, _listening(model, inner, depth, used) as (begun, starved):
            value = case.loss(model, batch)
        for number, call in enumerate(used):
            around = [name for at, name in begun if at <= number]
            if around and any(at > number for at in starved) and _nothing(call.output):
                depth.silent[number] = Place(around[-1], call.place.file, call.place.line)
        if value.requires_grad:
            case.guarded("backward", value.backward, seed=None)
        for name, module in inner.items():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.grad is not None and weight.numel():
                depth.gradients[name] = float(weight.grad.abs().max())
        depth.moved = any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    return depth


Begun = list[tuple[int, str]]
"""(how many rectifiers had been called, name) for every call of a module."""


@contextmanager
def _listening(
    model: nn.Module, inner: dict[str, nn.Module], depth: Depth, used: list[Used]
) -> Iterator[tuple[Begun, list[int]]]:
    """While the block runs, `depth` is told of each call; gives the calls, and those that get all examples alike."""
    begun, starved, before = list[tuple[int, str]](), list[int](), list[float]()

    def begins(name: str, given: Any) -> None:
        begun.append((len(used), name))
        if name in inner:
            depth.order.append(name)
            if _alike(given):
                starved.append(len(used))

    def ends(name: str, given: Any, output: Any) -> None:
        if name in inner and _alike(output) and _alike(given) is False:
            depth.constant.append(name)
        tensor = next(iter(numbers(output).values()), None)
        if tensor is not None and tensor.numel() > 1:
            now = float(tensor.detach().double().square().mean().sqrt())
            if before and before[-1] > 0:
                depth.gains.append((name, now / before[-1]))
            before.append(now)

    handles = []
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: begins(name, (args, kwargs)), with_kwargs=True
            )
        )
        handles.append(
            module.register_forward_hook(
                lambda _, args, kwargs, output, name=name: ends(name, (args, kwargs), output), with_kwargs=True
            )
        )
    try:
        yield begun, starved
    finally:
        for handle in handles:
            handle.remove()


def _alike(nest: Any) -> bool | None:
    """Whether all rows are bit-equal in every tensor; None where nothing has several rows."""
    tensors = [tensor for tensor in numbers(nest).values() if tensor.ndim and len(tensor) > 1]
    return all(bool((tensor == tensor[:1]).all()) for tensor in tensors) if tensors else None


def _nothing(output: Any) -> bool:
    """Whether a rectifier's output, of several units for each example, is exactly 0 throughout."""
    return isinstance(output, Tensor) and output.ndim > 1 and output.numel() > len(output) and not bool(output.any())


def unmoved(depths: list[Depth]) -> str | None:
    """The first layer that answers all inputs alike and gets no gradient in any pass, though others do."""
    if len(depths) < 2 or not any(depth.moved for depth in depths):
        return None
    for name in depths[0].constant:
        if all(name in depth.constant and depth.gradients.get(name) == 0 for depth in depths):
            return name
    return None


def stepped(case: Case, moves: int, patience: int) -> tuple[nn.Module, bool]:
    """(a model after so many of the program's own steps as move its weights, whether `patience` steps were enough)"""
    trial, done = case.begin(), 0
    for number in range(patience):
        before = Snapshot(trial.model)
        case.step(trial, case.batches[number % len(case.batches)])
        moved = changed(trial.model, before)
        done += any(moved[name] for name, _ in trial.model.named_parameters())
        if done == moves:
            break
    return trial.model, done == moves


def enough(batches: list[Any], examples: int) -> list[Any]:
    """The first two batches, and more until there are so many examples."""
    count, found = 0, list[Any]()
    for batch in batches:
        if count >= examples and len(found) > 1:
            break
        found.append(batch)
        count += rows(batch) or 1
    return found
