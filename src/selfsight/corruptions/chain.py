"""Chain: one corruption after the other.

What is gone after any of them is gone; how much was lost is measured once, on what the last one leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, nowhere


@dataclass(frozen=True, kw_only=True)
class Chain(Corruption):
    """Good: colour and detail taken together leave more to imagine than either. Poor where one of them alone takes
    nearly everything: the others only cost time."""

    corruptions: tuple[Corruption, ...]
    """One or more, in their order; by name `decolour+downsample`."""

    def check(self) -> None:
        if not self.corruptions or not all(isinstance(one, Corruption) for one in self.corruptions):
            raise ValueError(f"corruptions are one or more corruptions, Decolour() for example, not {self.corruptions}")

    def hides(self) -> bool:
        return all(one.hides() for one in self.corruptions)

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        where = nowhere(images)
        for one in self.corruptions:
            images, gone = one.apply(images, generator)
            where = torch.maximum(where, gone)
        return images, where
