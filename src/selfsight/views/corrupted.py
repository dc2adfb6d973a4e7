"""Views of what a corruption leaves: two draws of it, or one beside the image itself.

What both pictures of a pair share is what no corruption takes away, and that is what an encoder is taught to see. That
the kind of damage decides what is learned: Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive
Learning of Visual Representations", section 3.1, of crops and colour; here it is any corruption, a truncated spelling
among them.

Shapes: N images, V = 2 pictures of each, C channels, H W side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator

from selfsight.batch import Batch, Example
from selfsight.corruption import Corruption
from selfsight.corruptions import Downsample
from selfsight.images.views import Views
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class CorruptedViews(ViewSource):
    """Good where the corruption takes what does not tell images apart. Poor where it takes what does: nothing is put
    back, as GeneratedViews do."""

    corruption: Corruption = Downsample()
    """What is taken away."""
    beside: Literal["corrupted", "image"] = "corrupted"
    """What a corrupted picture is compared with: the image corrupted by another draw, or the image itself."""
    views: Views = Views()
    """What is done to both afterwards, as to any picture: crop, flip, rotation, colour."""

    def example(self, batch: Batch, generator: Generator) -> Example:
        images = batch.images.float() / 255
        done = [self.corruption(images, generator) for _ in range(1 if self.beside == "image" else 2)]
        left = [(one.images * 255).round().byte() for one in done]
        pictures = torch.stack([batch.images, *left] if self.beside == "image" else left, 1)
        shown = self.views(pictures.flatten(0, 1), generator).unflatten(0, pictures.shape[:2])
        removed = torch.stack([one.removed for one in done], 1).mean(1)
        return Example(inputs=shown, index=batch.index, extras={"removed": removed})

    def caption(self, example: Example, i: int) -> str:
        own = "the image, and what was left of it" if self.beside == "image" else "what was left, twice"
        return f"{own}; {float(example.extras['removed'][i]):.0%} was removed"
