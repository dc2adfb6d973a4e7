"""Nests of tensors: a batch or a prediction may be a tensor, or any tuple, list, dict or dataclass of them.

Shapes: N examples; a *row* is one example's part of a tensor.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def mapped(value: Any, change: Callable[[str, Tensor], Any], path: str = "") -> Any:
    """`value` with every tensor replaced by `change(path, tensor)`. What is no nest is handed through as it is."""
    if isinstance(value, Tensor):
        return change(path, value)
    if isinstance(value, Mapping):
        items = {key: mapped(item, change, f"{path}[{key!r}]") for key, item in value.items()}
        return items if type(value) is dict else _like(value, items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(getattr(value, name), change, f"{path}.{name}") for name in value._fields))
    if isinstance(value, list | tuple):
        return type(value)(mapped(item, change, f"{path}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(changed, field.name, mapped(getattr(value, field.name), change, f"{path}.{field.name}"))
        return changed
    return value


def _like(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the kind of `value`, where that kind can be made from a dict; else the dict."""
    try:
        return type(value)(items)  # type: ignore[call-arg]
    except Exception:
        return items


def leaves(value: Any) -> dict[str, Tensor]:
    """Every tensor of a nest by its path; a lone tensor has the path ""."""
    found: dict[str, Tensor] = {}

    def note(path: str, tensor: Tensor) -> Tensor:
        found[path] = tensor
        return tensor

    mapped(value, note)
    return found


def rebuilt(value: Any, changes: Mapping[str, Tensor]) -> Any:
    """`value` with the tensors at some paths replaced."""
    return mapped(value, lambda path, tensor: changes.get(path, tensor))


def kept(value: Any) -> Any:
    """A copy that nothing done to `value` can reach: tensors cloned and detached, the rest copied where it can be."""

    def one(_: str, tensor: Tensor) -> Tensor:
        return tensor.detach().clone()

    try:
        return mapped(copy.deepcopy(value), one)
    except Exception:
        return mapped(value, one)


def rows(value: Any) -> int | None:
    """How many examples the nest holds: the first dimension that all its tensors share. None where they do not."""
    sizes = Counter(len(tensor) for tensor in leaves(value).values() if tensor.ndim)
    return next(iter(sizes)) if len(sizes) == 1 else None


def taken(value: Any, which: Sequence[int] | slice) -> Any:
    """The examples `which` of a nest whose tensors share their first dimension."""

    def one(_: str, tensor: Tensor) -> Tensor:
        if not tensor.ndim:
            return tensor
        return tensor[which].clone() if isinstance(which, slice) else tensor[torch.as_tensor(which)].clone()

    return mapped(value, one)


def joined(values: Sequence[Any]) -> Any:
    """Nests of one structure as one, their tensors concatenated along the examples."""
    held = [leaves(value) for value in values]

    def one(path: str, tensor: Tensor) -> Tensor:
        return torch.cat([each[path] for each in held]) if tensor.ndim else tensor

    return mapped(values[0], one)


def numbers(value: Any) -> dict[str, Tensor]:
    """The floating-point tensors of a nest by path."""
    return {path: tensor for path, tensor in leaves(value).items() if tensor.is_floating_point()}
