"""The values that flow through one training step.

    Batch --task.prepare--> Example --task.predict--> Prediction --task.loss--> Outcome

Shapes: N images in a batch, V pictures per example, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Prediction = dict[str, Tensor]
"""What the network says, by name: exactly what enters the loss, so that it can be replaced by any free tensor."""


@dataclass(frozen=True)
class Batch:
    """Images as the store holds them, and which ones they are. Labels are not here: a task cannot read them."""

    images: Tensor
    """(N, C, H, W) uint8."""
    index: Tensor
    """(N,) int64, the image's place in the store: a key for anything cached per image."""


@dataclass(frozen=True)
class Example:
    """What the network is asked, and the answer."""

    inputs: Tensor
    """(N, V, C, H, W) float in [0, 1]: V pictures per example."""
    index: Tensor
    """(N,) int64, as in the batch."""
    answer: Tensor | None = None
    """(N, ...) what a right prediction would say, where the task has such a thing."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Anything else the loss or the drawing needs, first dimension N."""


@dataclass(frozen=True)
class Outcome:
    """What a step gave."""

    loss: Tensor
    """Scalar, finite, differentiable."""
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    """Named scalars to record beside the loss, detached."""


@dataclass(frozen=True)
class Now:
    """Where the training is, and the only source of randomness a task may use."""

    step: int
    """Steps already made; 0 in the first."""
    steps: int
    """Steps planned in all."""
    generator: torch.Generator
    """A function of (seed, step, process) alone, on the CPU: the same step always draws the same numbers."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """The newest value of each measure, a mean over processes; empty in the first step. What grows with success, as a
    curriculum does, reads it."""

    @property
    def share(self) -> float:
        """The share of the training that is done, in [0, 1)."""
        return self.step / max(1, self.steps)
