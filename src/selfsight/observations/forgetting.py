"""What the end of an epoch throws away: it is called twice from different weights, with the same draws.

Parameters that come out with the same bits both times, and changed, do not hold anything of what the epoch has learned.
Weights that are put back as they were (a checkpoint that was better) did not change, and are none of them.
"""

from __future__ import annotations

import torch

from selfsight.case import Case
from selfsight.instruments.snapshot import same

STEPS = 4
"""Own steps before it."""
AWAY = 0.1
"""How far the other weights lie from the first ones, in units of each tensor's spread."""


def forgotten(case: Case) -> set[str]:
    """Parameters that the end of an epoch makes anew, whatever they were."""
    trial = case.begin()
    for number, batch in enumerate(case.batches[:STEPS]):
        case.step(trial, batch, seed=number)
    named = dict(trial.model.named_parameters())
    learned = {name: tensor.detach().clone() for name, tensor in named.items()}
    outcomes = []
    for away in (0.0, AWAY):
        drawn = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, tensor in named.items():
                noise = torch.randn(tensor.shape, generator=drawn).to(tensor)
                tensor.copy_(learned[name] + away * learned[name].std(correction=0) * noise)
        case.call("between_epochs", trial.model, trial.optimizer, 0)
        outcomes.append({name: tensor.detach().clone() for name, tensor in trial.model.named_parameters()})
    one, other = outcomes
    return {
        name
        for name in learned
        if name in one and name in other and same(one[name], other[name]) and not same(one[name], learned[name])
    }
