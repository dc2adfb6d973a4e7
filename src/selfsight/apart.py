"""A trained mask model, taken up from its run: pictures taken apart.

Shapes: N pictures, K masks, C channels, S side.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import torch

from selfsight.batch import Batch, Example, Now, Prediction
from selfsight.config import configure
from selfsight.encoder import Encoder
from selfsight.frozen import Frozen
from selfsight.images.views import Views
from selfsight.recipe import Recipe
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import Decompose, Saliency

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
BATCH = 64
"""Pictures taken apart at a time."""


@dataclass(frozen=True)
class Apart:
    """What a run of Decompose or Saliency learned, in eval mode and without gradients."""

    recipe: Recipe
    task: Decompose | Saliency
    """The recipe's, showing pictures as they are."""
    model: Model

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Apart:
        """Raises UserError where there is no run, where it has no masks, or no checkpoint yet."""
        found = Frozen.open(
            path,
            lambda task: isinstance(task, Decompose | Saliency),
            lambda task, encoder: task.parts(encoder),
            "makes no masks: give a run of `selfsight pretrain --task Decompose`",
        )
        recipe = configure(found.run.json("recipe"))
        assert isinstance(recipe.task, Decompose | Saliency)
        model = Model(found.encoder, dict(found.parts.items())).eval()
        return Apart(recipe, replace(recipe.task, views=STILL), model)

    @property
    def encoder(self) -> Encoder:
        return self.model.encoder

    @torch.no_grad()
    def asked(self, images: np.ndarray, seed: int = 0) -> tuple[Prediction, Example]:
        """What the model says of images (N, S, S, C) uint8, as at the end of a training."""
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        batch = Batch(pixels, torch.arange(len(images)))
        example = self.task.prepare(batch, Now(99, 100, generator(seed, "apart")))
        return self.task.predict(self.model, example), example

    def masks(self, images: np.ndarray) -> np.ndarray:
        """(N, K, S, S) float16 in [0, 1] of images (N, S, S, C) uint8."""
        parts = []
        for start in range(0, len(images), BATCH):
            masks = self.task.masks(*self.asked(images[start : start + BATCH]))
            parts.append(masks.half().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 0, *images.shape[1:3]), np.float16)
