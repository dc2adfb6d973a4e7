"""Views made by an adversary: a small net changes each picture a little, so that the pair is hard to find again.

Tamkin, Wu, Goodman 2021, "Viewmaker Networks: Learning Views for Unsupervised Representation Learning", sections 3.1
and 3.2: the net sees the picture and noise, its change has a fixed mean size (L1), and it maximises the loss that the
encoder minimises, by the same gradient reversed. We depart in that crops and mirror images are made before the change,
as they need no gradient then; and in that one optimizer moves both.

What an adversary removes may be what tells the classes apart: no label is there to stop it, and the budget alone does.

Shapes: N images, V = 2 pictures of each, C channels, H W side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example
from selfsight.images.views import Views
from selfsight.view import ViewSource

TINY = 1e-4


@dataclass(frozen=True, kw_only=True)
class ViewmakerViews(ViewSource):
    """Good where nobody knows which views suit the images: sensors, spectra, slides. Poor where ordinary views are
    known to suit them, and in short trainings: the adversary has to learn, too."""

    budget: float = 0.05
    """The mean change of a value of a picture, whose range is 1; (0, 0.5]."""
    width: int = 16
    """Channels of the net, >= 1."""
    blocks: int = 2
    """Residual blocks of the net, each with noise of its own, >= 1."""
    strength: float = 1.0
    """What the reversed gradient is multiplied by, at least 0; 0 leaves the net as it began, its changes noise."""
    views: Views = Views().gentle()
    """What is done before: crop and flip."""

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 0.5 or min(self.width, self.blocks) < 1 or not self.strength >= 0:
            raise ValueError(
                f"budget is a mean change in (0, 0.5], width and blocks are at least 1 and strength at least 0, not "
                f"{self.budget}, {self.width}, {self.blocks} and {self.strength}"
            )

    def parts(self, channels: int) -> dict[str, nn.Module]:
        return {"viewmaker": Viewmaker(channels, self.width, self.blocks)}

    def example(self, batch: Batch, generator: Generator) -> Example:
        twice = torch.stack([batch.images, batch.images], 1)
        shown = self.views(twice.flatten(0, 1), generator).unflatten(0, twice.shape[:2])
        seed = torch.randint(2**31, (1,), generator=generator).expand(len(shown))
        return Example(inputs=shown, index=batch.index, extras={"seed": seed})

    def pictures(self, parts: nn.ModuleDict, example: Example) -> tuple[Tensor, dict[str, Tensor]]:
        shown, maker = example.inputs.flatten(0, 1), cast(Viewmaker, parts["viewmaker"])
        shown = shown.to(next(maker.parameters()))
        change = self.budget * maker(shown, Generator().manual_seed(int(example.extras["seed"][0])))
        made = (shown + reversed_gradient(change, self.strength)).clamp(0, 1)
        return made.unflatten(0, example.inputs.shape[:2]), {"changed": (made - shown).detach().abs().mean((1, 2, 3))}

    def measures(self, prediction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"changed": prediction["changed"].detach().float().mean()}

    def caption(self, example: Example, i: int) -> str:
        return "two views; an adversary changes them further"


class Viewmaker(nn.Module):
    """(N, C, H, W) in [0, 1] -> a change of each, of mean absolute size 1. Noise joins the picture, and every block."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 5, padding=2)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.last = nn.Conv2d(width, channels, 5, padding=2)

    def forward(self, images: Tensor, draws: Generator) -> Tensor:
        x = self.first(_with_noise(2 * images - 1, draws)).relu()
        for block in self.blocks:
            x = block(x, draws)
        change = torch.tanh(self.last(x).float())
        return change / (change.abs().mean((1, 2, 3), keepdim=True) + TINY)


class Block(nn.Module):
    """Two convolutions and a way around them, normalised picture by picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width + 1, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True),
        )  # fmt: skip

    def forward(self, x: Tensor, draws: Generator) -> Tensor:
        return cast(Tensor, x + self.body(_with_noise(x, draws)))


def _with_noise(x: Tensor, draws: Generator) -> Tensor:
    noise = torch.rand((len(x), 1, *x.shape[2:]), generator=draws)
    return torch.cat([x, noise.to(x)], 1)


def reversed_gradient(x: Tensor, strength: float) -> Tensor:
    """x itself, whose gradient is multiplied by -strength on its way back (Ganin, Lempitsky 2015, section 3)."""
    return cast(Tensor, _Reversed.apply(x, strength))


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None
