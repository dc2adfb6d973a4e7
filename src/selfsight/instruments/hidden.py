"""Tensors that a model holds where nn.Module does not look: in lists, dicts and plain attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

DEEP = 4
"""How many containers inside one another are opened."""
_OWN = set(vars(nn.Module()))
"""What torch itself keeps in a module's dictionary."""


def hidden(model: nn.Module) -> dict[str, Tensor]:
    """Trainable leaf tensors that model.parameters() does not yield, by the attribute they are reached through."""
    known = {id(parameter) for parameter in model.parameters()} | {id(buffer) for buffer in model.buffers()}
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in _OWN:
                for path, tensor in _inside(value, f"{prefix}.{attribute}".lstrip("."), DEEP):
                    if id(tensor) not in known and tensor.is_leaf and tensor.requires_grad:
                        known.add(id(tensor))
                        found[path] = tensor
    return found


def _inside(value: Any, path: str, deep: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            yield f"{path}.{name}", parameter
    elif deep and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(item, f"{path}[{key!r}]", deep - 1)
    elif deep and isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _inside(item, f"{path}[{i}]", deep - 1)
