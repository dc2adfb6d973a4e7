"""Quadrants: which way was each quarter of the picture turned?

From the journals of an unmixing net ("divide each image into 2 x 2, rotate each segment independently, predict the
amount each was rotated"); the turns are those of Gidaris et al. 2018, "Unsupervised Representation Learning by
Predicting Image Rotations". Edges that run on from one quadrant into the next would tell how far two are turned
against each other: the quadrants are therefore windows with a gap between them, each moved by chance, on a gray
canvas. A crop that is stretched in one direction would do the same by its blur: crops keep their proportions.

Shapes: N images, V = 1, Q = 4 quadrants row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.boxes import cut, lay
from selfsight.images.turn import quarter_turn
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat

POINTS = ("up", "left", "down", "right")
"""Where the upper edge of a quadrant points after 0, 1, 2, 3 quarter turns."""


@dataclass(frozen=True, kw_only=True)
class Quadrants(Task):
    """Good where parts of things have an upright position of their own, and where the whole must be read from parts.
    Poor on textures, discs and pictures from above; poor where most quadrants are background, which has no upright."""

    views: Views = Views(crop=(0.5, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before the picture is cut."""
    gap: float = 0.15
    """Share of a quadrant's side that is left out, so that no edge runs on into the next, [0, 0.5]."""

    def __post_init__(self) -> None:
        if not 0 <= self.gap <= 0.5:
            raise ValueError(f"gap is the share of a quadrant's side that is left out, in [0, 0.5], not {self.gap}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": nn.Sequential(nn.Linear(encoder.dim, 16), nn.Unflatten(1, (4, 4)))}

    def prepare(self, batch: Batch, now: Now) -> Example:
        views = self.views(batch.images, now.generator)
        boxes = cut(views, 2, None, self.gap, now.generator)
        # Ranks modulo 4: in every quadrant each turn stands equally often in the batch, whatever the others have.
        turns = (torch.rand(len(views), 4, generator=now.generator).argsort(0) % 4).to(views.device)
        turned = quarter_turn(boxes.flatten(0, 1), turns.flatten()).unflatten(0, turns.shape)
        return Example(inputs=lay(turned, views.shape[-1]).unsqueeze(1), index=batch.index, answer=turns)

    def predict(self, model: Model, example: Example) -> Prediction:
        return {"logits": model.parts["head"](model.encoder(flat(example)))}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        right = (logits.detach().argmax(-1) == answer).float().mean()
        return Outcome(F.cross_entropy(logits.flatten(0, 1), answer.flatten()), {"right": right})

    def constant(self, n: int) -> Constant:
        return Constant(math.log(4), "ln 4: every turn of every quadrant as likely", right=1 / 4)

    def question(self) -> str:
        return "Which way was each quarter of this picture turned?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        upper_left, upper_right, lower_left, lower_right = (POINTS[int(turn)] for turn in example.answer[i])
        return f"tops: {upper_left} {upper_right} / {lower_left} {lower_right}"
