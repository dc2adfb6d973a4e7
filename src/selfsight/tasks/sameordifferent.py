"""Same or different: were these two pictures made from one image?

The journals of an unmixing net: "select either 2 different images OR 1 image and apply a boatload of transformations";
of 9/13, that median blur and JPEG leave a siamese network nothing but what is large. Of 9/7: the same pairs under
triplet, N-pair and NT-Xent losses, which compare them with the pairs of other images (`maths/contrast.py`).

The shortcut it invites is the palette: with SimCLR's jitter a linear rule on colours and borders answers 81 % of pairs
of photographs' pieces, so that hues are turned all the way round here (72 %; emoji: 73 and 59 %). Each picture is drawn
by itself, and every image gives exactly two, whether they meet or not: how often something is seen tells nothing.

Shapes: N images, V = 2, P projection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.images.transforms import spoil
from selfsight.images.views import Views
from selfsight.maths.contrast import n_pair, nt_xent, nt_xent_constant, triplet
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class SameOrDifferent(Task):
    """Good for a first look: two pictures, one bit, chance at one half. Poor as the only task: one bit a pair teaches
    less than finding the partner among a batch, for which there are the other objectives, and SimCLR."""

    form: Literal["views", "blur_jpeg"] = "views"
    """views: `views` alone; blur_jpeg: median blur and JPEG on top of them, drawn for each picture."""
    views: Views = Views(
        crop=(0.6, 1.0), jitter=1.0, brightness=0.6, contrast=0.5, saturation=0.4, hue=0.5, gray=0.2, blur=0.0
    )
    """What may change between two pictures of one image."""
    objective: Literal["binary", "triplet", "n_pair", "nt_xent"] = "binary"
    """binary: same or not, half of the time each; the others show two pictures of every image and ask each to be nearer
    to its partner than triplet: one other, n_pair: the seconds of all others, nt_xent: all others."""
    comparison: Comparison = Comparison(by="product")
    """How the two are compared, where the objective is binary. `all` is not symmetric; the others are."""
    projection: int = 128
    """P, where the objective is another: the length of the vectors compared."""
    temperature: float = 0.2
    """Divides the cosine similarities of nt_xent. (0, 1]."""
    margin: float = 0.5
    """By how much triplet wants the other farther away, in squared distance of unit vectors. (0, 4)."""

    def __post_init__(self) -> None:
        if not 0 < self.margin < 4:
            raise ValueError(f"margin is a squared distance of unit vectors, between 0 and 4, not {self.margin}")
        if not 0 < self.temperature <= 1:
            raise ValueError(f"temperature divides cosines and lies in (0, 1], not {self.temperature}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        if self.objective == "binary":
            return {"head": self.comparison.build(encoder.dim)}
        return {"projector": nn.Linear(encoder.dim, self.projection)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n = len(batch.images)
        pictures = self.views.pair(batch.images, now.generator)
        if self.form == "blur_jpeg":
            pictures = spoil(pictures.flatten(0, 1), now.generator).unflatten(0, (n, 2))
        partner = torch.arange(n) if self.objective != "binary" else partners(n, now.generator)
        partner = partner.to(pictures.device)
        same = (partner == torch.arange(n, device=pictures.device)).float()
        inputs = torch.stack([pictures[:, 0], pictures[partner, 1]], 1)
        return Example(inputs=inputs, index=batch.index, answer=same)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example))
        if self.objective == "binary":
            return {"logits": model.parts["head"](z[0::2], z[1::2].unsqueeze(1))[:, 0]}
        z = model.parts["projector"](z)
        return {"first": z[0::2], "second": z[1::2]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        if self.objective != "binary":
            loss, right = self._distances(prediction["first"], prediction["second"])
            return Outcome(loss, {"right": right})
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        right = ((logits.detach() > 0) == answer.bool()).float().mean()
        return Outcome(F.binary_cross_entropy_with_logits(logits, answer), {"right": right})

    def _distances(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        if self.objective == "triplet":
            return triplet(first, second, self.margin)
        return n_pair(first, second) if self.objective == "n_pair" else nt_xent(first, second, self.temperature)

    def constant(self, n: int) -> Constant:
        return {
            "binary": Constant(math.log(2), "ln 2: same or not, as likely", right=0.5),
            "triplet": Constant(self.margin, "the margin: partner and other equally far", right=0.5),
            "n_pair": Constant(math.log(n), f"ln {n}: every second picture as likely", right=1 / n),
            "nt_xent": Constant(nt_xent_constant(n), f"ln {2 * n - 1}: all others alike", right=1 / max(1, 2 * n - 1)),
        }[self.objective]

    def question(self) -> str:
        if self.objective == "binary":
            return "Were these two pictures made from the same image?"
        return "Which of the other pictures was made from the same image as this one?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return "same image" if example.answer[i] else "two images"


def partners(n: int, generator: Generator) -> Tensor:
    """(N,) int64: half of the images keep their own second picture, the others exchange theirs in a ring.

    Where n is odd, chance rounds. At least two images are needed for a ring.
    """
    if n < 2:
        raise ValueError(f"two different pictures need two images, not a batch of {n}: give a larger --batch")
    order = torch.randperm(n, generator=generator)
    ring = order[: max(2, (n + int(torch.randint(2, (1,), generator=generator))) // 2)]
    partner = torch.arange(n)
    partner[ring] = ring.roll(1)
    return partner
