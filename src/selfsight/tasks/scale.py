"""Scale: some pictures of one image were darkened; which, and by how much?

The journals of an unmixing net (2020), where it was the easy case beside Unmix: the original and copies of it, each
multiplied by a number. We depart in least: a factor of 0 leaves a black square, in which nothing of the image is seen.

Shapes: N images, K candidates, V = 1 + K: the picture as it is first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import chosen
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class Scale(Task):
    """Good as a first proof that a program learns at all: it is easy. Poor as a teacher: the mean brightness is all one
    has to see. Views with small crops (crop=(0.1, 0.4)) leave less of that."""

    candidates: int = 3
    """K, pictures beside the original."""
    answer: Literal["which", "factors"] = "which"
    """which: one candidate is darkened; factors: all are, and each one's factor is asked."""
    least: float = 0.3
    """The strongest darkening: factors are drawn from [least, 1], for `which` from [least, 0.9]. [0, 0.9)."""
    views: Views = Views(crop=(0.6, 1.0)).gentle()
    """What else may differ between the original and a candidate."""
    comparison: Comparison = Comparison()
    """How the original is compared with a candidate."""

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError(f"candidates is 2 or more, not {self.candidates}")
        if not 0 <= self.least < 0.9:
            raise ValueError(f"least is a factor in [0, 0.9), not {self.least}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": self.comparison.build(encoder.dim)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, k, generator = len(batch.images), self.candidates, now.generator
        even = (torch.rand(n, k, generator=generator).argsort(0) + torch.rand(n, k, generator=generator)) / n
        if self.answer == "which":
            dark = chosen(n, 1, k, generator)
            factors = torch.where(dark, self.least + (0.9 - self.least) * even, torch.ones(()))
            answer = dark.int().argmax(1)
        else:
            factors = self.least + (1 - self.least) * even
            answer = factors
        views = self.views(batch.images.repeat_interleave(1 + k, 0), generator).unflatten(0, (n, 1 + k))
        whole = torch.cat([torch.ones(n, 1), factors], 1).to(views)
        answer = answer.to(views.device)
        return Example(inputs=views * whole[:, :, None, None, None], index=batch.index, answer=answer)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example)).unflatten(0, example.inputs.shape[:2])
        return {"logits": model.parts["head"](z[:, 0], z[:, 1:])}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        if self.answer == "which":
            right = (logits.detach().argmax(1) == answer).float().mean()
            return Outcome(F.cross_entropy(logits, answer), {"right": right})
        told = logits.sigmoid()
        return Outcome(F.mse_loss(told, answer.to(told)), {"error": (told.detach() - answer).abs().mean()})

    def constant(self, n: int) -> Constant:
        if self.answer == "which":
            k = self.candidates
            return Constant(math.log(k), f"ln {k}: every candidate as likely", right=1 / k)
        return Constant((1 - self.least) ** 2 / 12, "the variance of the factors: always their mean")

    def question(self) -> str:
        if self.answer == "which":
            return "Which picture is darker than the first?"
        return "How much darker than the first is each picture?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        if self.answer == "which":
            return f"number {int(example.answer[i]) + 1} is darker"
        return "factors " + ", ".join(f"{factor:.2f}" for factor in example.answer[i].tolist())
