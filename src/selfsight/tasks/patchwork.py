"""Patchwork: boxes of several images, shuffled on one canvas. From which image is each, and from where in it?

From the journals of an unmixing net (n images sliced into k x k boxes, rearranged into a single image; "image 1 is
whichever provides the box in the upper left corner"). One image is the jigsaw of Noroozi, Favaro 2016, "Unsupervised
Learning of Visual Representations by Solving Jigsaw Puzzles", section 3, whose gap and random windows we take. We
depart in showing the cells as pictures of their own by default, as one vector of the whole canvas would have to say
eight things at once. The journals' curriculum, too: more images, then more boxes, as accuracy grows.

Shapes: N examples, K = images k k cells, V = K boxes or 1 canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import companions
from selfsight.encoder import Encoder
from selfsight.head import Attention
from selfsight.images.boxes import LEAST, cells, cut, lay, recoloured
from selfsight.images.views import Views
from selfsight.maths.naming import appearance_shares, by_appearance, by_matching, doubt
from selfsight.task import Constant, Model, Task, flat

MEMORY = 0.9
"""What the moving average of a curriculum keeps each step: it tells of the last twenty steps or so."""


@dataclass(frozen=True, kw_only=True)
class Patchwork(Task):
    """Good where images have a layout in common, and where the parts of a thing look alike. Poor on textures, whose
    boxes are the same everywhere. It invites to follow edges (closed: gap, windows), to sort boxes by light (closed:
    `recolour`, for each box by itself) and by sharpness (closed: one scale for all); an image's hues still tell."""

    images: int = 2
    """Images in an example, 1 to 4; 1 is the plain jigsaw."""
    k: int = 2
    """Boxes along a side of an image, 2 or more; images k k is at most 36."""
    shown: Literal["boxes", "canvas"] = "boxes"
    """The cells as pictures of their own, or all on one picture and read from a single vector."""
    naming: Literal["upper_left", "matching"] = "upper_left"
    """Images are numbered in the order of their first cells, or as suits the prediction best."""
    curriculum: bool = False
    """Begin with one image in 2 x 2; each time `mastered` is reached go on to one image more, then to more boxes."""
    mastered: float = 0.5
    """How far from chance (0) to always right (1) the moving average of "right" has to come, (0, 1)."""
    gap: float = 0.15
    """Share of a box's side that is left out, [0, 0.5]: the window lies anywhere in its cell."""
    recolour: float = 0.2
    """Brightness, contrast and saturation of each box change by a factor in [1 - r, 1 + r], r in [0, 1)."""
    scale: float = 0.5
    """Side of a box that is shown by itself, as a share of the image's side, (0, 1]; at least 16 pixels."""
    hidden: int = 128
    """Width of the layer in which boxes look at each other, a multiple of 4."""
    views: Views = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before the images are cut. Crops would let images be told apart by their sharpness."""

    def __post_init__(self) -> None:
        if not (1 <= self.images <= 4 and self.k >= 2 and self.images * self.k**2 <= 36):
            raise ValueError(
                f"images={self.images}, k={self.k}: take 1 to 4 images and k of 2 or more, 36 boxes at most"
            )
        if not (0 < self.scale <= 1 and 0 <= self.gap <= 0.5 and 0 <= self.recolour < 1):
            given = f"scale={self.scale}, gap={self.gap}, recolour={self.recolour}"
            raise ValueError(f"{given}: take scale in (0, 1], gap in [0, 0.5], recolour in [0, 1)")
        if not 0 < self.mastered < 1:
            raise ValueError(
                f"mastered is a share of the way from chance to always right, in (0, 1), not {self.mastered}"
            )

    @property
    def cells(self) -> int:
        return self.images * self.k**2

    def stages(self) -> list[tuple[int, int]]:
        """(images, k) of each stage of the training; the last is what the fields say."""
        grown = [(images, 2) for images in range(1, self.images + 1)]
        grown += [(self.images, k) for k in range(3, self.k + 1)]
        return grown if self.curriculum else grown[-1:]

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        answers = self.images + self.k**2
        if self.shown == "boxes":
            return {"head": Attention(encoder.dim, self.cells, answers, self.hidden)}
        linear = nn.Linear(encoder.dim, self.cells * answers)
        return {"head": nn.Sequential(linear, nn.Unflatten(1, (self.cells, answers)))}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, generator, device = len(batch.images), now.generator, batch.images.device
        stage, mastery = self._reached(now)
        images, k = self.stages()[stage]
        cell = torch.arange(self.cells).expand(n, -1)
        # Cells that this stage leaves empty come last: every stage has the shapes of the largest.
        order = torch.cat([torch.rand(n, images * k**2, generator=generator).argsort(1), cell[:, images * k**2 :]], 1)
        owner, place, filled = order // k**2 % images, order % k**2, cell < images * k**2
        source = companions(n, images, generator).gather(1, owner).to(device)
        views = self.views(batch.images, generator)
        size = max(LEAST, round(self.scale * views.shape[-1]))
        if self.shown == "canvas":
            size = views.shape[-1] // cells(self.cells) - max(1, views.shape[-1] // 32)
        boxes = cut(views, k, size, self.gap, generator)[source, place.to(device)]
        boxes = recoloured(boxes.flatten(0, 1), self.recolour, generator).unflatten(0, (n, self.cells))
        boxes = torch.where(filled.to(device)[:, :, None, None, None], boxes, 0.5)
        shown = lay(boxes, views.shape[-1]).unsqueeze(1) if self.shown == "canvas" else boxes
        answer = torch.stack([by_appearance(owner, images), place // k * self.k + place % k], -1).to(device)
        numbers = {"unit": doubt(images, k**2), "stage": float(stage), "mastery": mastery}
        extras = {name: torch.full((n,), value, device=device) for name, value in numbers.items()}
        return Example(shown, batch.index, answer, {"filled": filled.to(device), **extras})

    def _reached(self, now: Now) -> tuple[int, float]:
        """The stage of the next question, and the moving average of what was right at it."""
        stage, mastery = int(now.measured.get("stage", 0)), now.measured.get("mastery", 0.0)
        if mastery >= self.mastered and stage < len(self.stages()) - 1:
            return stage + 1, 0.0
        return stage, mastery

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example))
        if self.shown == "boxes":
            answers = model.parts["head"](z.unflatten(0, example.inputs.shape[:2]), ~example.extras["filled"])
        else:
            answers = model.parts["head"](z)
        return {"image": answers[..., : self.images], "place": answers[..., self.images :]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        image, place, filled = prediction["image"].float(), prediction["place"].float(), example.extras["filled"]
        assert example.answer is not None
        owner, origin = example.answer.unbind(-1)
        if self.naming == "matching":
            owner = by_matching(image.detach(), owner, filled)
        surprise = F.cross_entropy(image[filled], owner[filled]) + F.cross_entropy(place[filled], origin[filled])
        known, placed = image.detach().argmax(-1) == owner, place.detach().argmax(-1) == origin
        shares = {"right": known & placed, "image": known, "place": placed}
        measures = {name: share[filled].float().mean() for name, share in shares.items()}
        if self.curriculum:
            stage, mastery = example.extras["stage"].mean(), example.extras["mastery"].mean()
            chance = _chance(*self.stages()[int(stage)])
            gained = (measures["right"] - chance) / (1 - chance)
            measures |= {"stage": stage, "mastery": MEMORY * mastery + (1 - MEMORY) * gained}
        return Outcome(surprise / example.extras["unit"].mean(), measures)

    def constant(self, n: int) -> Constant:
        told = f"1: what is unknown, {doubt(self.images, self.k**2):.3f} nats a box at the end, is the unit"
        return Constant(1.0, told, right=_chance(self.images, self.k))

    def question(self) -> str:
        return "From which image is each of these boxes, and from where in it?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        named = [f"{'abcd'[owner]}{place + 1}" for owner, place in example.answer[i].tolist()]
        return " ".join(name for name, filled in zip(named, example.extras["filled"][i], strict=True) if filled)


def _chance(images: int, k: int) -> float:
    """How often the best constant answer has both image and place right."""
    return float(appearance_shares(images, k**2).amax(1).mean()) / k**2
