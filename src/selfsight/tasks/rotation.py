"""Rotation: which way up is it?

Gidaris, Singh, Komodakis 2018, "Unsupervised Representation Learning by Predicting Image Rotations", section 3. We
depart in showing each image of a batch in one of its four positions, every position equally often, where the paper
shows all four: more different images for the same work.

Shapes: N images, V = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.turn import quarter_turn
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat

TURNS = ("upright", "a quarter left", "upside down", "a quarter right")


@dataclass(frozen=True, kw_only=True)
class Rotation(Task):
    """Good where things have an upright position (clothes, animals, scenes). Poor on textures, discs, microscope and
    aerial images, which look alike from all sides; the loss then stays at ln 4."""

    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the turn."""

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": nn.Linear(encoder.dim, len(TURNS))}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n = len(batch.images)
        shuffled = torch.randperm(n, generator=now.generator)
        turns = (torch.arange(n) % len(TURNS))[shuffled].to(batch.images.device)
        views = self.views(batch.images, now.generator)
        return Example(inputs=quarter_turn(views, turns).unsqueeze(1), index=batch.index, answer=turns)

    def predict(self, model: Model, example: Example) -> Prediction:
        return {"logits": model.parts["head"](model.encoder(flat(example)))}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        accuracy = (logits.detach().argmax(1) == answer).float().mean()
        return Outcome(F.cross_entropy(logits, answer), {"right": accuracy})

    def constant(self, n: int) -> Constant:
        return Constant(math.log(len(TURNS)), "ln 4: every turn as likely", right=1 / len(TURNS))

    def question(self) -> str:
        return "Which way was this picture turned?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return TURNS[int(example.answer[i])]
