"""Missing box: boxes of several images, shuffled, and one is blank. Whose is it, or what did it show?

From the journals of an unmixing net ("do the same thing but leave one box blank; we can then add an additional task to
generate that box; as a simpler variation, ask to identify which image was missing a patch"). Images are numbered by
their first boxes. The blank is always the last cell, so that its place tells nothing; the image that lacks a box would
seldom be number 0, so shuffles are drawn until every number lacks one equally often. "Whose" asks for image and place
of the boxes that are there as well, and counts them: one word about eight boxes taught nothing. What is restored is
asked for in few pixels, as the difference from the mean over the batch, for the mean is right to some degree without
looking.

Shapes: N examples, V = K = images k k boxes, the last of them blank, C channels, r = `detail`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import companions
from selfsight.encoder import Encoder
from selfsight.head import Attention, Tally
from selfsight.images.boxes import LEAST, cut, recoloured, resized
from selfsight.images.views import Views
from selfsight.maths.naming import by_appearance, entropy, lacking_shares
from selfsight.task import Constant, Model, Task, flat

TRIES = 32
"""Shuffles drawn for each example. With four images the rarest number comes up in one of five: 0.8^32 is 0.0008."""


@dataclass(frozen=True, kw_only=True)
class MissingBox(Task):
    """Good where images have a layout in common, so that what is missing follows from what is there. Poor on textures,
    whose boxes are the same everywhere. Gap, windows and `recolour` close edges and light."""

    ask: Literal["what", "whose"] = "what"
    """Restore the box in few pixels, or name its image."""
    images: int = 2
    """Images in an example, 1 to 4, 2 or more for "whose"."""
    k: int = 2
    """Boxes along a side of an image, 2 or more; images k k is at most 36."""
    detail: int = 8
    """Pixels along a side of the box as it is restored."""
    gap: float = 0.15
    """Share of a box's side that is left out, [0, 0.5]: the window lies anywhere in its cell."""
    recolour: float = 0.2
    """Brightness, contrast and saturation of each box change by a factor in [1 - r, 1 + r], [0, 1); "whose" only."""
    scale: float = 0.5
    """Side of a box as it is shown, as a share of the image's side, (0, 1]; at least 16 pixels."""
    hidden: int = 128
    """Width of the layer in which boxes look at each other, a multiple of 4."""
    views: Views = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before the images are cut. Crops would let images be told apart by their sharpness."""

    def __post_init__(self) -> None:
        fewest = 2 if self.ask == "whose" else 1
        if not (fewest <= self.images <= 4 and self.k >= 2 and self.images * self.k**2 <= 36):
            told = f"take {fewest} to 4 images and k of 2 or more, 36 boxes at most"
            raise ValueError(f"images={self.images}, k={self.k} with ask={self.ask!r}: {told}")
        if not (0 < self.scale <= 1 and 0 <= self.gap <= 0.5 and 0 <= self.recolour < 1):
            given = f"scale={self.scale}, gap={self.gap}, recolour={self.recolour}"
            raise ValueError(f"{given}: take scale in (0, 1], gap in [0, 0.5], recolour in [0, 1)")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        whose, cells = self.ask == "whose", self.images * self.k**2
        answers = self.images + self.k**2 if whose else encoder.channels * self.detail**2
        head = Attention(encoder.dim, cells, answers, self.hidden)
        return {"head": head, "tally": Tally()} if whose else {"head": head}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, generator, device = len(batch.images), now.generator, batch.images.device
        owner, place = self._shuffled(n, generator)
        source = companions(n, self.images, generator).gather(1, owner).to(device)
        views = self.views(batch.images, generator)
        size = max(LEAST, round(self.scale * views.shape[-1]))
        boxes = cut(views, self.k, size, self.gap, generator)[source, place.to(device)]
        if self.ask == "whose":
            boxes = recoloured(boxes.flatten(0, 1), self.recolour, generator).unflatten(0, source.shape)
        box = resized(boxes[:, -1], self.detail)
        inputs = torch.cat([boxes[:, :-1], torch.full_like(boxes[:, -1:], 0.5)], 1)
        answer = by_appearance(owner, self.images)[:, -1].to(device) if self.ask == "whose" else box
        return Example(inputs, batch.index, answer, {"owner": owner.to(device), "place": place.to(device)})

    def _shuffled(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(N, K) image 0..images-1 and place of each cell: of some shuffles the first that gives the name wanted."""
        m = self.k**2
        blank = torch.randint(self.images * m, (n, 1, 1), generator=generator).expand(-1, TRIES, 1)
        keys = torch.rand(n, TRIES, self.images * m, generator=generator)
        orders = keys.scatter(2, blank, 2.0).argsort(2)  # the blank comes last
        names = by_appearance((orders // m).flatten(0, 1), self.images)[:, -1].view(n, TRIES)
        wanted = torch.rand(n, generator=generator).argsort() % self.images  # ranks: each name equally often
        chosen = (names == wanted[:, None]).int().argmax(1)
        order = orders[torch.arange(n), chosen]
        return order // m, order % m

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example)).unflatten(0, example.inputs.shape[:2])
        answers = model.parts["head"](z, torch.zeros_like(example.extras["owner"], dtype=torch.bool))
        if self.ask == "what":
            return {"what": answers[:, -1]}
        image, place = answers[:, :-1].split([self.images, self.k**2], -1)
        return {"image": image, "place": place, "right": model.parts["tally"](image.float())}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        answer = example.answer
        assert answer is not None
        if self.ask == "whose":
            image = by_appearance(example.extras["owner"], self.images)[:, :-1]
            return _told(prediction, {"right": answer, "image": image, "place": example.extras["place"][:, :-1]})
        given = prediction["what"].float()
        wanted = answer.flatten(1).float()
        wanted = wanted - wanted.mean(0)
        loss = F.mse_loss(given, wanted / wanted.square().mean().sqrt().clamp(min=1e-3))
        return Outcome(loss, {"explained": 1 - loss.detach()})

    def constant(self, n: int) -> Constant:
        if self.ask == "whose":
            shown = entropy(lacking_shares(self.images, self.k**2)) + math.log(self.k**2)
            told = f"ln {self.images}, every image as likely, and {shown:.3f} for image and place of a box shown"
            return Constant(math.log(self.images) + shown, told, right=1 / self.images)
        return Constant(1.0, "1: no difference from the mean box of the batch")

    def question(self) -> str:
        return {"whose": "Which image lacks a box?", "what": "What did the box show that is missing?"}[self.ask]

    def caption(self, example: Example, i: int) -> str:
        owner = by_appearance(example.extras["owner"], self.images)[i].tolist()
        named = [f"{'abcd'[image]}{place + 1}" for image, place in zip(owner, example.extras["place"][i], strict=True)]
        return " ".join(named[:-1]) + f", missing {named[-1]}"


def _told(prediction: Prediction, truths: dict[str, Tensor]) -> Outcome:
    """Cross-entropy of each answer, summed, and how often each is right."""
    logits = {name: prediction[name].float() for name in truths}
    losses = [F.cross_entropy(logits[name].flatten(0, -2), truth.flatten()) for name, truth in truths.items()]
    right = {name: (logits[name].detach().argmax(-1) == truth).float().mean() for name, truth in truths.items()}
    return Outcome(torch.stack(losses).sum(), right)
