"""A view source makes of each image the pictures that a task calls the same.

Two for most; where it makes more, `choose` says which of them are shown. Finals are frozen dataclasses: `Views`, which
cuts and colours, in `images/views.py`, the others in `views/`.

Shapes: N images, V pictures of each, C channels, H W side.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example

Choice = Literal["random", "most_different", "all"]
"""Of V pictures of an image: two by chance; the two that the encoder, as it is now, finds farthest apart; all of them,
each with every other."""


@dataclass(frozen=True, kw_only=True)  # without it jsonargparse leaves the finals' tuples lists
class ViewSource(abc.ABC):
    """What every final says. See `images/views.py`."""

    choose: ClassVar[Choice] = "random"
    mosaics: ClassVar[bool] = False
    """Whether several pictures are laid into one of the inputs, to be taken apart by `embedded`."""
    learns: ClassVar[bool] = False
    """Whether `learn` does something."""
    weigh: ClassVar[float] = 0.0
    """Above 0 where some pictures count more than others."""

    @abc.abstractmethod
    def example(self, batch: Batch, generator: Generator) -> Example:
        """Images (N, C, H, W) uint8 -> inputs (N, V, C, H, W) in [0, 1], all draws from `generator`.

        Where some count more than others, extras hold their "weight" (N, V), above 0. Where `choose` is random, V is 2.
        """

    def parts(self, channels: int) -> dict[str, nn.Module]:
        """What the source itself learns with; moved by `learn` alone."""
        return {}

    def pictures(self, parts: nn.ModuleDict, example: Example) -> tuple[Tensor, dict[str, Tensor]]:
        """The pictures (N, V, C, H, W) where the network runs, and what else of them the prediction should hold."""
        return example.inputs, {}

    def embedded(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        """What an encoder says of them, all of an image in a row: (N, V, C, H, W) -> (N `shown`, D)."""
        found: Tensor = encoder(pictures.flatten(0, 1))
        return found

    def learn(  # noqa: B027
        self, parts: nn.ModuleDict, example: Example, prediction: Mapping[str, Tensor], loss: Tensor
    ) -> None:
        """After a step: what its pictures have led to."""

    def measures(self, prediction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named scalars about the pictures, to record beside the loss."""
        return {}

    def reads(self) -> str:
        """A mark of what is read beside the images, another one where that has changed; "" where nothing is."""
        return ""

    def doubts(self) -> Sequence[str]:
        """Sentences on why what is read is not to be relied on; none where all is well."""
        return ()

    def shown(self) -> int:
        """How many pictures of an image are compared in the end."""
        return 2

    def caption(self, example: Example, i: int) -> str:
        """What stands below example i when it is drawn."""
        return "one image, two views"


def named(v: int) -> str:
    """What the prediction calls picture v of an image: first, second, and then numbers."""
    return ("first", "second")[v] if v < 2 else f"picture {v + 1}"
