"""Twenty steps of every task in float64, frozen: a change of any number here is a change of what selfsight computes.

Made anew by `python tests/golden/test_golden.py`, when such a change is meant; LOG.md then says why.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from selfsight import tasks
from selfsight.batch import Batch
from selfsight.encoder import Encoder
from selfsight.optimizer import Optimization
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.train import State, advance, order

FROZEN = Path(__file__).with_name("losses.json")


def losses(name: str) -> list[float]:
    """Loss of each of twenty steps on made-up pictures, with a network of two convolutions."""
    task = getattr(tasks, name)()
    pictures = torch.randint(0, 256, (64, 3, 12, 12), generator=generator("golden"), dtype=torch.uint8)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = Encoder(net, channels=3, size=12)
    model = Model(encoder, task.parts(encoder)).double()
    state = State(
        task,
        model,
        Optimization(rate=1e-3),
        Fabric(accelerator="cpu", devices=1, precision="64-true"),
        steps=20,
        seed=0,
    )
    told = []
    for step in range(20):
        rows = torch.from_numpy(order(0, step, 64, 16).astype(np.int64))
        told.append(advance(state, [Batch(pictures[rows], rows)])[0])
    return told


@pytest.mark.parametrize("name", tasks.__all__)
def test_losses_are_what_they_were(name):
    assert losses(name) == pytest.approx(json.loads(FROZEN.read_text())[name], rel=1e-6)


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({name: losses(name) for name in tasks.__all__}, indent=1) + "\n")
