"""A trained speller, taken up from its run: spell images out, read any beginning, and tell how many tokens they need.

Shapes: N images, T tokens, D numbers a token, H W side, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from selfsight.config import configure
from selfsight.encoder import Encoder
from selfsight.frozen import Frozen
from selfsight.images.picked import Images
from selfsight.lengths import Lengths
from selfsight.recipe import Recipe
from selfsight.speller import Spelling, Spelt
from selfsight.tasks.tokens import Tokens

BATCH = 128
"""Images that are spelled at a time."""


@dataclass(frozen=True)
class Reading:
    """What a run of Tokens learned, in eval mode."""

    recipe: Recipe
    encoder: Encoder
    spelling: Spelling

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Reading:
        """Raises UserError where there is no run, where it is not one of Tokens, or has no checkpoint yet."""
        found = Frozen.open(
            path,
            lambda task: isinstance(task, Tokens),
            lambda task, encoder: task.parts(encoder),
            "spells nothing: give a run of `selfsight pretrain --task Tokens`",
        )
        return Reading(configure(found.run.json("recipe")), found.encoder, cast(Spelling, found.parts["speller"]))

    def spelt(
        self, images: Images, count: int | None = None, step: float | None = None
    ) -> Iterator[tuple[Tensor, Spelt]]:
        """images (N, H, W, C) uint8 -> batch by batch pictures (n, C, H, W) in [0, 1], and what was sent of them."""
        for start in range(0, len(images), BATCH):
            pictures = pixels_of(images[start : start + BATCH])
            yield pictures, self.spelling.spell(pictures, self.encoder, count, step)

    def errors(self, images: np.ndarray, step: float | None = None) -> Tensor:
        """(N, T + 1) mean squared errors after 0 ... T tokens."""
        return torch.cat([spelt.errors(pictures) for pictures, spelt in self.spelt(images, step=step)])

    @torch.no_grad()
    def clues(self, images: np.ndarray) -> Tensor:
        """(N, F) what is seen without a single pass."""
        parts = (pixels_of(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
        return torch.cat([self.spelling.clues(part, self.encoder) for part in parts])

    def lengths(self, images: np.ndarray) -> Lengths:
        """The rule that tells lengths in one look, fitted to these images: some hundred that were trained on, say."""
        return Lengths.fit(self.clues(images), self.errors(images))

    def tokens(self, images: Images) -> np.ndarray:
        """(N, T, D) float32: each image's tokens. Any beginning of a row is an embedding."""
        sent = [spelt.numbers for _, spelt in self.spelt(images)]
        return torch.cat(sent).float().numpy() if sent else np.zeros((0, self.spelling.tokens, self.spelling.numbers))


def pixels_of(images: np.ndarray) -> Tensor:
    """(N, H, W, C) uint8 -> (N, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
