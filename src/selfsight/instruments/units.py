"""Layers whose units are all alike, and norms that two layers use."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from selfsight.instruments.calls import Call, weighted
from selfsight.instruments.nest import numbers


def alike(model: nn.Module, order: list[str]) -> tuple[str, str, int] | None:
    """(layer, the next one, units) where all units have bit-equal weights and the next layer weighs them alike.

    Only trainable linear and convolutional layers of `order`, the names as they are called, are looked at.
    """
    layers = [(name, model.get_submodule(name)) for name in order]
    trained = [(name, m) for name, m in layers if isinstance(m, nn.Linear | _ConvNd) and m.weight.requires_grad]
    for (name, one), (following, two) in pairwise(trained):
        units, senders = _units(one), _senders(two)
        count = len(units)
        if one is two or count < 2 or units.shape[1] < 2 or senders is None or len(senders) % count:
            continue
        senders = senders.unflatten(0, (count, -1)).flatten(1)
        told_apart = not bool(units.any()) and not bool(senders.any()) and _biases_differ(one)
        if bool((units == units[:1]).all()) and bool((senders == senders[:1]).all()) and not told_apart:
            return name, following, count
    return None


def _units(module: Any) -> Tensor:
    """(units, weights of each)"""
    weight = module.weight.detach()
    return (weight.transpose(0, 1) if isinstance(module, _ConvTransposeNd) else weight).flatten(1)


def _senders(module: Any) -> Tensor | None:
    """(inputs, weights from each); None where a convolution looks at its inputs in groups."""
    if getattr(module, "groups", 1) != 1:
        return None
    weight = module.weight.detach()
    return (weight if isinstance(module, _ConvTransposeNd) else weight.transpose(0, 1)).flatten(1)


def _biases_differ(module: Any) -> bool:
    return module.bias is not None and bool((module.bias != module.bias[:1]).any())


def shared_norm(model: nn.Module, calls: list[Call]) -> tuple[str, str, str] | None:
    """(norm, the layer before it, another layer before it) where one batch norm is used for both, one of them deeper.

    Twins that call a norm side by side do not count. `calls` are live: their graph is followed.
    """
    inner, before, seen = weighted(model), "", dict[int, list[tuple[str, Call]]]()
    for call in calls:
        if isinstance(call.module, _BatchNorm):
            uses = seen.setdefault(id(call.module), [])
            for maker, first in uses:
                if before != maker and _feeds(first, call):
                    return call.name, maker, before
            uses.append((before, call))
        elif call.name in inner:
            before = call.name
    return None


def _feeds(first: Call, later: Call) -> bool:
    """Whether the later call's input was computed from the first one's output."""
    made, used = first.output, next(iter(numbers(later.inputs).values()))
    if not isinstance(made, Tensor) or not made.requires_grad or not used.requires_grad:
        return False
    return torch.autograd.grad(used.sum(), made, allow_unused=True, retain_graph=True)[0] is not None
