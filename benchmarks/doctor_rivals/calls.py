"""What a net's layers and activations gave, seen from outside: function calls are watched, not modules.

So an activation written as `F.relu(x)` or `x.relu()` counts like a module `nn.ReLU`. What runs inside one fused call (an LSTM's
gates, attention) is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

RELU = frozenset({"relu", "relu_", "relu6"})
SATURATING = frozenset({"sigmoid", "sigmoid_", "tanh", "tanh_", "hardtanh", "hardsigmoid"})
SOFT = frozenset({"softmax", "log_softmax", "sigmoid", "sigmoid_", "logsigmoid"})
"""What may end a classifier."""
ACTIVATIONS = (
    RELU
    | SATURATING
    | SOFT
    | frozenset(
        {
            "leaky_relu",
            "leaky_relu_",
            "elu",
            "elu_",
            "selu",
            "celu",
            "gelu",
            "silu",
            "mish",
            "softplus",
            "prelu",
            "hardswish",
        }
    )
)
LAYERS = frozenset(
    {"linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
)
GATED = frozenset({"lstm", "gru", "rnn_tanh", "multi_head_attention_forward", "scaled_dot_product_attention"})
"""Calls that hold non-linear parts of their own."""


@dataclass(frozen=True)
class Call:
    """One layer or activation, as it was called."""

    name: str
    mean_abs: float
    """Mean absolute output."""
    not_positive: float
    """Share of outputs <= 0."""
    saturated: float
    """Share of inputs whose magnitude is at least 5."""
    finite: bool
    bare: bool
    """Whether a layer's output reached this layer with nothing non-linear between."""


class Watch(TorchFunctionMode):
    """Collects the calls made inside a `with` block, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        linear = any(getattr(value, "came_from_a_layer", False) for value in args if isinstance(value, Tensor))
        entered = args[0].detach().clone() if name in SATURATING and isinstance(args[0], Tensor) else None
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple) and result else result
        if isinstance(output, Tensor):
            output.came_from_a_layer = name in LAYERS or (linear and name not in ACTIVATIONS and name not in GATED)
            if name in ACTIVATIONS | LAYERS | GATED and output.is_floating_point() and output.numel():
                self.calls.append(_call(name, output.detach(), entered, bare=linear and name in LAYERS))
        return result


@torch.no_grad()
def _call(name: str, output: Tensor, entered: Tensor | None, bare: bool) -> Call:
    return Call(
        name=name,
        mean_abs=float(output.abs().float().mean()),
        not_positive=float((output <= 0).float().mean()),
        saturated=0.0 if entered is None else float((entered.abs() >= 5).float().mean()),
        finite=bool(torch.isfinite(output).all()),
        bare=bare,
    )
