"""Which of its arguments a model's outermost modules listen to, told by giving them another batch's."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case, Failed
from selfsight.instruments.calls import Call, listening
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.outer import disturbed, outer_tensors
from selfsight.instruments.place import Place
from selfsight.instruments.snapshot import same, still


@dataclass
class Hearing:
    """One outermost module, and which of its arguments it listens to."""

    name: str
    call: Call
    others: dict[str, Tensor] = field(default_factory=dict)
    """What stands in another batch at the paths of the call's inputs."""
    kinds: dict[str, tuple[torch.Size, torch.dtype]] = field(default_factory=dict)
    hears: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)
    moved: bool = False
    """Whether another batch really brings it something else."""


def scrambled(model: nn.Module) -> None:
    """Draws all weights at random, of about the size that keeps signals at theirs: no path stays shut by a zero."""
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel():
                noise = torch.randn(parameter.shape, generator=drawn).to(parameter)
                if parameter.ndim > 1:
                    parameter.copy_(noise * (parameter.numel() / len(parameter)) ** -0.5)
                else:
                    parameter.add_(0.1 * noise)


def hearing(case: Case, model: nn.Module) -> list[Hearing]:
    """Every outermost module that was given something else in another batch."""
    first, second = (_outermost(case, model, batch) for batch in (case.batch, case.other))
    found: dict[str, Hearing] = {}
    for one, two in zip(first, second, strict=False):
        if one.name != two.name or not any(p.requires_grad for p in one.module.parameters()):
            continue
        given, other = leaves(one.inputs), leaves(two.inputs)
        changes = {path: _other(given[path], other.get(path)) for path in given if given[path].ndim}
        changes = {path: tensor for path, tensor in changes.items() if not same(given[path], tensor)}
        if not changes:
            continue
        heard = found.setdefault(one.name, Hearing(one.name, one, changes))
        alone = all(same(tensor, leaves(case.other).get(path)) for path, tensor in leaves(case.batch).items())
        heard.moved |= alone or any(tensor is other.get(path) for path, tensor in changes.items())
        names = {path: spoken(one.module, path) for path in changes}
        heard.kinds |= {names[path]: (tensor.shape, tensor.dtype) for path, tensor in changes.items()}
        for path, tensor in changes.items():
            (heard.hears if _matters(case, model, one, {path: tensor}) else heard.deaf).add(names[path])
        heard.deaf -= heard.hears
    return list(found.values())


def _outermost(case: Case, model: nn.Module, batch: Any) -> list[Call]:
    """The calls in which tensors enter the model: of the model itself, or below one that is given none."""
    with still(model), torch.no_grad(), listening(model, keep=True) as calls:
        case.loss(model, batch)
    entered = min((call.depth for call in calls if leaves(call.inputs)), default=0)
    return [call for call in calls if call.depth == entered]


def _other(given: Tensor, other: Tensor | None) -> Tensor:
    if other is not None and other.shape == given.shape and not same(given, other):
        return other
    return given.roll(1, 0)


def _matters(case: Case, model: nn.Module, call: Call, changes: dict[str, Tensor]) -> bool:
    """Whether other arguments change a bit of what a call puts out, or of the loss."""
    before, after = (_answer(case, model, call, inputs) for inputs in (call.inputs, rebuilt(call.inputs, changes)))
    if before is None or after is None or before.keys() != after.keys():
        return True  # it does look, if only to refuse
    return any(not same(before[path], after[path]) for path in before) or not all(
        t.isfinite().all() for t in before.values()
    )


def _answer(case: Case, model: nn.Module, call: Call, inputs: Any) -> dict[str, Tensor] | None:
    args, kwargs = inputs
    with still(model), torch.no_grad():
        try:
            output = case.guarded("forward", lambda: call.module(*args, **kwargs))
        except Failed:
            return None
        return {path: tensor.clone() for path, tensor in leaves(output).items()}


def heard_elsewhere(one: Hearing, all_of_them: list[Hearing]) -> bool:
    """Whether a module listens that is no twin of this one: then this one may take only a number from its arguments,
    as positions do. Where its output differs from row to row, the very same tensors have to be heard.
    """
    given = leaves(one.call.inputs)
    rows = [tensor for tensor in leaves(one.call.output).values() if tensor.ndim > 1 and len(tensor) > 1]
    differ = any(len(t) == len(given[path]) and not same(t[:1].expand_as(t), t) for t in rows for path in one.others)
    for other in all_of_them:
        if other is one or not (other.hears and other.moved) or _shapes(other.call.module) == _shapes(one.call.module):
            continue
        theirs = leaves(other.call.inputs)
        if not differ or any(same(given[path], tensor) for path in one.others for tensor in theirs.values()):
            return True
    return False


def _shapes(module: nn.Module) -> list[torch.Size]:
    return [parameter.shape for parameter in module.parameters()]


def followed(case: Case, one: Hearing) -> tuple[str, Place] | None:
    """An outer variable that decides what the module puts out, and the line that reads it."""
    model = case.model().eval()
    module = model.get_submodule(one.name) if one.name else model
    call = Call(one.name, module, 0, one.call.inputs)
    with still(model):
        scrambled(model)
        before = _answer(case, model, call, call.inputs)
        for outer in outer_tensors(model):
            value = outer.value
            try:
                outer.set(disturbed(value))
                after = _answer(case, model, call, call.inputs)
            finally:
                outer.set(value)
            if before and after and any(not same(before[path], after[path]) for path in before if path in after):
                return outer.name, outer.place
    return None


def spoken(module: nn.Module, path: str) -> str:
    """The name of the argument that a path of (args, kwargs) leads to."""
    keys = path.strip("[]").replace("'", "").split("][")
    if keys[0] == "1":
        return keys[1]
    try:
        names = list(inspect.signature(module.forward).parameters.values())
        name = names[min(int(keys[1]), len(names) - 1)]
    except (ValueError, TypeError, IndexError):
        return f"argument {keys[1]}"
    return f"*{name.name}[{keys[1]}]" if name.kind is name.VAR_POSITIONAL else name.name
