"""How far an answer is from the truth: what a restorer's answers are chosen by, and trained on.

`Distance` is the frozen description; `build()` makes a `Gauge`, which holds what memory that takes.

Shapes: N pictures, K answers to each, C channels, s side (any).
"""

from __future__ import annotations

import abc

from torch import Tensor, nn

from selfsight.encoder import Encoder


class Gauge(nn.Module, abc.ABC):
    """A built distance: differentiable, without anything that is trained, and without draws."""

    @property
    def squares(self) -> tuple[float, float] | None:
        """Weights of squared differences of pixels and of neighbours' differences, where the distance is just these."""
        return None

    @abc.abstractmethod
    def forward(self, answers: Tensor, truth: Tensor) -> Tensor:
        """answers (N, K, C, s, s) and truth (N, C, s, s) in [0, 1] -> (N, K), at least 0, 0 for equal pictures.

        What is to be known of the truth is found once, however many answers are held against it.
        """


class Distance(abc.ABC):
    """Finals are frozen dataclasses in `distances/`."""

    @abc.abstractmethod
    def build(self, channels: int, encoder: Encoder | None = None) -> Gauge:
        """A gauge for pictures of C channels. encoder: for those that look through one; it is copied and frozen.

        Raises ValueError where something is missing.
        """

    def reads(self) -> str:
        """A mark of what is read beside the images, another one where that has changed; "" where nothing is."""
        return ""
