"""AdamW by torch's own fused step, without torch.optim: whose optimizers import torch's compiler as one is made, which
takes as long as to import torch itself.

Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; to the bit what torch.optim.AdamW(fused=True) is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

BETAS, EPS = (0.9, 0.999), 1e-8
"""torch.optim's."""


class AdamW:
    """Over float32 parameters on one device. groups: each with "params" and "weight_decay"."""

    def __init__(self, groups: Sequence[Mapping[str, Any]], rate: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": rate, **group} for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        """Leaves no parameter a gradient."""
        for parameter in (one for group in self.param_groups for one in group["params"]):
            parameter.grad = None

    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                held = [self._held(parameter) for parameter in moved]
                first, second, steps = ([one[name] for one in held] for name in ("exp_avg", "exp_avg_sq", "step"))
                with torch.no_grad():
                    torch._foreach_add_(steps, 1)
                    torch._fused_adamw_(
                        moved, [parameter.grad for parameter in moved], first, second, [], steps, lr=group["lr"],
                        beta1=BETAS[0], beta2=BETAS[1], weight_decay=group["weight_decay"], eps=EPS, amsgrad=False,
                        maximize=False,
                    )  # fmt: skip

    def _held(self, parameter: Tensor) -> dict[str, Tensor]:
        """Both moments and the count of steps, by the names torch.optim gives them."""
        held = self.state[parameter]
        if not held:
            held["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            for name in ("exp_avg", "exp_avg_sq"):
                held[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return held
