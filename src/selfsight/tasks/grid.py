"""Grid: boxes of as many images as there are boxes. From which place of its image is each?

From the journals of an unmixing net ("grid of every image: each box comes from a different image; they could either all
be from the same position, or they could all be different"). What is learned is the layout that images have in common,
since no two boxes belong together. Nothing runs on from box to box; every box is cut and resampled alike, and the
crops before keep their proportions, so that blur does not tell rows from columns.

Shapes: N examples, K = k k boxes, V = K boxes or 1 canvas, A answers: K, or 1 where all boxes are from one place.
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
from selfsight.encoder import Encoder
from selfsight.images.boxes import LEAST, cut, lay
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class Grid(Task):
    """Good where images have a layout in common: a thing in the middle, sky above ground. Poor on textures and pieces
    of larger pictures, where every place looks like any other, and where a plain border tells the place by itself."""

    k: int = 2
    """Boxes along a side of an image, and of the canvas: k k images share an example."""
    places: Literal["each", "same"] = "each"
    """Every box from another place, each to be named; or all boxes from one place, named once."""
    shown: Literal["boxes", "canvas"] = "boxes"
    """Each box as a picture of its own, or all on one picture and read from a single vector."""
    gap: float = 0.15
    """Share of a box's side that is left out, [0, 0.5]: the window lies anywhere in its cell."""
    scale: float = 0.5
    """Side of a box that is shown by itself, as a share of the image's side, (0, 1]; at least 16 pixels."""
    views: Views = Views(crop=(0.7, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before the images are cut."""

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k={self.k}: an image of one box has one place, take k of 2 or more")
        if not (0 < self.scale <= 1 and 0 <= self.gap <= 0.5):
            raise ValueError(f"scale={self.scale}, gap={self.gap}: take scale in (0, 1], gap in [0, 0.5]")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        places = self.k**2
        if self.shown == "boxes":
            return {"head": nn.Linear(encoder.dim, places)}
        answers = places if self.places == "each" else 1
        return {"head": nn.Sequential(nn.Linear(encoder.dim, answers * places), nn.Unflatten(1, (answers, places)))}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, generator, count = len(batch.images), now.generator, self.k**2
        if self.places == "each":
            answer = torch.rand(n, count, generator=generator).argsort(1)
        else:  # ranks in the batch: every place equally often
            answer = torch.rand(n, generator=generator).argsort()[:, None] % count
        views = self.views(batch.images, generator)
        size = max(LEAST, round(self.scale * views.shape[-1])) if self.shown == "boxes" else None
        boxes = cut(views, self.k, size, self.gap, generator)
        source, answer = companions(n, count, generator).to(views.device), answer.to(views.device)
        shown = boxes[source, answer.expand(-1, count)]
        inputs = lay(shown, views.shape[-1]).unsqueeze(1) if self.shown == "canvas" else shown
        return Example(inputs, batch.index, answer)

    def predict(self, model: Model, example: Example) -> Prediction:
        logits = model.parts["head"](model.encoder(flat(example)))
        if self.shown == "boxes":
            logits = logits.unflatten(0, example.inputs.shape[:2])
            logits = logits if self.places == "each" else logits.mean(1, keepdim=True)
        return {"logits": logits}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        right = (logits.detach().argmax(-1) == answer).float().mean()
        return Outcome(F.cross_entropy(logits.flatten(0, 1), answer.flatten()), {"right": right})

    def constant(self, n: int) -> Constant:
        return Constant(2 * math.log(self.k), f"ln {self.k**2}: every place as likely", right=1 / self.k**2)

    def question(self) -> str:
        if self.places == "same":
            return "From which place of their images are these boxes?"
        return "From which place of its image is each of these boxes?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return "places " + " ".join(str(place + 1) for place in example.answer[i].tolist())
