"""Whether a loss depends on weights at all, told by moving them a little with every draw replayed."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import nn

from selfsight.case import Case
from selfsight.instruments.snapshot import still

NUDGE = 0.01
"""Of a tensor's spread. Any distance would do: the question is whether a bit of the loss changes."""


def depends(case: Case, model: nn.Module, names: Container[str]) -> bool:
    """Whether the loss of the frozen batch changes when these parameters do. Leaves the model as it was."""
    drawing, before = torch.Generator().manual_seed(0), case.value(model, case.batch)
    with still(model), torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names and parameter.is_floating_point():
                spread = float(parameter.float().std(correction=0)) or 1.0
                noise = torch.randn(parameter.shape, generator=drawing).to(parameter)
                parameter.add_(noise, alpha=NUDGE * spread)
        return case.value(model, case.batch) != before
