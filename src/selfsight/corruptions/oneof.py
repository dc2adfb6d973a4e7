"""OneOf: of several corruptions each picture suffers one.

What a restorer has to be trained on, if a policy is to choose among these later.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.corruption import Corruption, nowhere


@dataclass(frozen=True, kw_only=True)
class OneOf(Corruption):
    """Good: one restorer for many kinds of damage. Poor where one kind matters alone: it sees that in some pictures
    only."""

    corruptions: tuple[Corruption, ...]
    """Two or more, each as likely; by name `decolour/cutout`."""

    def check(self) -> None:
        if len(self.corruptions) < 2 or not all(isinstance(one, Corruption) for one in self.corruptions):
            raise ValueError(
                f"corruptions are two or more corruptions, Decolour() and CutOut() for example, not {self.corruptions}"
            )

    def hides(self) -> bool:
        return all(one.hides() for one in self.corruptions)

    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        which = torch.randint(len(self.corruptions), (len(images),), generator=generator).to(images.device)
        left, where = images.clone(), nowhere(images)
        for number, one in enumerate(self.corruptions):
            rows = which == number
            if rows.any():
                left[rows], where[rows] = one.apply(images[rows], generator)
        return left, where
