"""Split: was this image cut across or from top to bottom?

The journals of an unmixing net: "always select 1 image but randomly choose to split it either vertically or
horizontally ... rotate them so the inputs are a consistent shape, and have the model predict if it was vertically or
horizontally split". We depart in turning each half by itself and in letting them change places, where the journals
rearrange a whole grid.

The shortcut it invites is the seam, and which way things lie: after a cut across, both halves are turned by a quarter,
so that every picture shows two upright halves, each either way up, in either order. A strip at the cut is dropped and
left gray in every picture, so that no line can be followed over it. That things lie on their side remains a cue, and is
the point: to see it one has to know how they stand.

Shapes: N images, V = 1, C channels, S side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.transforms import spoil
from selfsight.images.turn import quarter_turn
from selfsight.images.views import Views
from selfsight.maths.answers import balanced
from selfsight.task import Constant, Model, Task, flat

CUTS = ("left from right", "top from bottom")


@dataclass(frozen=True, kw_only=True)
class Split(Task):
    """Good where things stand upright and differ from top to bottom otherwise than from left to right: faces, animals,
    scenes. Poor on textures and pictures from above, and on what is alike in both directions."""

    views: Views = Views(crop=(0.6, 1.0)).gentle()
    """What is changed before the cut."""
    blur_jpeg: bool = False
    """Median blur and JPEG after it, so that only what is large is left."""
    gap: float = 0.06
    """Share of the side that is dropped at the cut, [0, 0.5]; at least one pixel."""

    def __post_init__(self) -> None:
        if not 0 <= self.gap <= 0.5:
            raise ValueError(f"gap is the share of the side that is dropped, in [0, 0.5], not {self.gap}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": nn.Linear(encoder.dim, 1)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        views = self.views(batch.images, now.generator)
        across = balanced(len(views), 2, now.generator).to(views.device)
        pictures = halves(quarter_turn(views, across), self.gap, now.generator)
        if self.blur_jpeg:
            pictures = spoil(pictures, now.generator)
        return Example(inputs=pictures.unsqueeze(1), index=batch.index, answer=across)

    def predict(self, model: Model, example: Example) -> Prediction:
        return {"logits": model.parts["head"](model.encoder(flat(example)))[:, 0]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        right = ((logits.detach() > 0) == (answer == 1)).float().mean()
        return Outcome(F.binary_cross_entropy_with_logits(logits, answer.float()), {"right": right})

    def constant(self, n: int) -> Constant:
        return Constant(math.log(2), "ln 2: either cut, as likely", right=0.5)

    def question(self) -> str:
        return "Was this image cut left from right, or top from bottom and its halves turned?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return f"cut {CUTS[int(example.answer[i])]}"


def halves(pictures: Tensor, gap: float, generator: Generator) -> Tensor:
    """Left and right half of each picture, each upside down or not, in either order, gray between them.

    (N, C, S, S) float in [0, 1] -> the same shape; gap is the share of the side that is dropped in the middle.
    """
    n, side = len(pictures), pictures.shape[-1]
    wide = (side - max(1, round(gap * side))) // 2
    pair = torch.stack([pictures[..., :wide], pictures[..., side - wide :]], 1)  # (N, 2, C, S, wide)
    over, swapped = (torch.rand(n, k, generator=generator).to(pictures.device) < 0.5 for k in (2, 1))
    pair = torch.where(over[:, :, None, None, None], pair.flip(-1, -2), pair)
    pair = torch.where(swapped[:, :, None, None, None], pair.flip(1), pair)
    middle = torch.full_like(pictures[..., : side - 2 * wide], 0.5)
    return torch.cat([pair[:, 0], middle, pair[:, 1]], -1)
