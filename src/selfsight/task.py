"""A task is what an encoder is asked, so that it has to learn.

It prepares, predicts and takes the loss: the three places where a training can be sick, kept apart so that each can be
drawn, measured and swapped. Finals are frozen dataclasses in `tasks/`; their hyperparameters are their fields.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder


@dataclass(frozen=True)
class Constant:
    """The best a network can do that gives the same answer to everything."""

    loss: float
    meaning: str
    """Where the number comes from, in a few words: "ln 4: every turn as likely"."""
    optimal: bool = False
    """True where a constant answer is the *best* answer of all, so that a low loss shows nothing (BYOL)."""
    right: float | None = None
    """Chance: the measure "right" of the best constant answer, in [0, 1]; None where the task has no such measure."""


class Model(nn.Module):
    """The encoder and the parts trained beside it, as one module."""

    def __init__(self, encoder: Encoder, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.parts = nn.ModuleDict(parts)

    def forward(self, ask: Callable[[Model], Prediction]) -> Prediction:
        """`ask(self)`. A network call has to go through here to be seen by autocast and by distributed wrappers."""
        return ask(self)


class Task(abc.ABC):
    """What every final says. See `tasks/rotation.py` for the shortest."""

    rests = False
    """True where a step may leave a part without a gradient; several processes then look for such parts each step."""

    @abc.abstractmethod
    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        """Heads, decoders, twins: trained beside the encoder, then thrown away. State belongs in their buffers."""

    @abc.abstractmethod
    def prepare(self, batch: Batch, now: Now) -> Example:
        """Pixels to what the network is asked, and the answer. No model here; all randomness from `now.generator`."""

    @abc.abstractmethod
    def predict(self, model: Model, example: Example) -> Prediction:
        """The only place the network runs. May be called again on the same example."""

    @abc.abstractmethod
    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        """No model, no randomness. May be called again on the same prediction."""

    @abc.abstractmethod
    def constant(self, n: int) -> Constant:
        """The loss of the best constant answer for batches of n images (of all processes together)."""

    @abc.abstractmethod
    def question(self) -> str:
        """One sentence: what the network is asked."""

    def caption(self, example: Example, i: int) -> str:
        """What stands below example i when it is drawn."""
        return ""

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:  # noqa: B027
        """Moves what moves without a gradient: a momentum twin, a queue, a cache of codes, a policy's baseline."""

    def keepsake(self, model: Model, images: Tensor) -> dict[str, Tensor]:
        """What the run keeps of a few images (M, C, H, W) uint8 while it learns, by name; {}: nothing."""
        return {}

    def judged(self, model: Model, images: Tensor) -> dict[str, float]:
        """Numbers on what the trained model, in eval mode, answers to images (M, C, H, W) uint8, by name; {}: none."""
        return {}

    def usual_batch(self) -> int:
        """Images a step where no number is asked for."""
        return 256

    def rates(self) -> dict[str, float]:
        """Learning-rate factors of parts by name, where one should learn faster or slower than the encoder."""
        return {}


def flat(example: Example) -> Tensor:
    """All pictures of all examples in one batch: (N, V, C, H, W) -> (N V, C, H, W)."""
    return example.inputs.flatten(0, 1)
