"""Odd one out: boxes of different images, all turned alike or taken from one place, but one. Which?

From the journals of an unmixing net ("rotate 3 of them by one angle and the last by a different angle; variant: three
upper right boxes and one lower right"). We depart in showing the boxes as pictures by themselves instead of on one
canvas, so that each is judged by the same weights: it is compared with the mean of the others.

Light and sharpness differ from image to image, never between right and wrong answers: every box is cut and resampled
alike, turned or not, and turns are by quarters, which resample nothing. All boxes of an example may be turned by any
quarter, so that no turn by itself is odd.

Shapes: N examples of V = `boxes` pictures, k boxes along a side of an image, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import companions
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.images.boxes import LEAST, cut
from selfsight.images.turn import quarter_turn
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class OddOneOut(Task):
    """Good where images have an upright position and a layout in common (by="place" wants both). Poor on textures and
    pictures from above; slower to begin than `Rotation` or `Grid`, as nothing is right before two boxes are."""

    by: Literal["turn", "place"] = "turn"
    """What is odd: the quarter by which a box was turned, or the place in its image that it was taken from."""
    boxes: int = 4
    """Boxes in an example, each of another image, at least 3."""
    k: int = 1
    """Boxes along a side of an image. 1 takes the whole image (by="turn" only); places want 2 or more."""
    upright: float = 0.75
    """Share of the examples, in [0, 1], whose other boxes all stand upright (by="turn"); in the rest they are turned by
    any quarter, the same for all. 1 asks no more than which box was turned at all."""
    scale: float = 0.5
    """Side of a box as it is shown, as a share of the image's side, (0, 1]; at least 16 pixels. 1 for an encoder that
    takes one size only."""
    gap: float = 0.15
    """Share of a box's side that is left out, [0, 0.5]: the window lies anywhere in its cell."""
    views: Views = Views(crop=(0.5, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before the images are cut."""
    comparison: Comparison = Comparison()
    """How a box is compared with the others."""

    def __post_init__(self) -> None:
        if self.boxes < 3:
            raise ValueError(f"one of {self.boxes} boxes cannot be odd: boxes is at least 3")
        if self.k < (2 if self.by == "place" else 1):
            raise ValueError(f"k={self.k} with by={self.by!r}: places want k of 2 or more, turns 1 or more: change k")
        if not (0 < self.scale <= 1 and 0 <= self.gap <= 0.5):
            raise ValueError(f"scale is in (0, 1] and gap in [0, 0.5], not {self.scale} and {self.gap}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"judge": self.comparison.build(encoder.dim)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, generator = len(batch.images), now.generator
        views = self.views(batch.images, generator)
        size = max(LEAST, round(self.scale * views.shape[-1]))
        cut_boxes = cut(views, self.k, size, self.gap, generator)
        kinds = 4 if self.by == "turn" else self.k**2
        # Ranks in the batch: each box is the odd one equally often, and each kind is the common one.
        odd = torch.rand(n, generator=generator).argsort() % self.boxes
        common = torch.rand(n, generator=generator).argsort() % kinds
        if self.by == "turn":
            common = torch.where(torch.rand(n, generator=generator) < self.upright, 0, common)
        other = (common + 1 + (torch.rand(n, generator=generator) * (kinds - 1)).long()) % kinds
        kind = torch.where(F.one_hot(odd, self.boxes).bool(), other[:, None], common[:, None])
        anywhere = torch.randint(self.k**2, (n, self.boxes), generator=generator)
        place = (kind if self.by == "place" else anywhere).to(views.device)
        shown = cut_boxes[companions(n, self.boxes, generator).to(views.device), place]
        if self.by == "turn":
            shown = quarter_turn(shown.flatten(0, 1), kind.flatten().to(views.device)).unflatten(0, kind.shape)
        return Example(inputs=shown, index=batch.index, answer=odd.to(views.device))

    def predict(self, model: Model, example: Example) -> Prediction:
        z = F.normalize(model.encoder(flat(example)), dim=-1).unflatten(0, example.inputs.shape[:2])
        others = (z.sum(1, keepdim=True) - z) / (z.shape[1] - 1)
        scores = model.parts["judge"](others.flatten(0, 1), z.flatten(0, 1).unsqueeze(1))
        return {"scores": scores.view(z.shape[:2])}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        scores, answer = prediction["scores"].float(), example.answer
        assert answer is not None
        right = (scores.detach().argmax(1) == answer).float().mean()
        return Outcome(F.cross_entropy(scores, answer), {"right": right})

    def constant(self, n: int) -> Constant:
        return Constant(math.log(self.boxes), f"ln {self.boxes}: every box as likely", right=1 / self.boxes)

    def question(self) -> str:
        return f"Which of these boxes {'was turned' if self.by == 'turn' else 'is from a place'} unlike all the others?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return f"box {int(example.answer[i]) + 1} of {self.boxes}"
