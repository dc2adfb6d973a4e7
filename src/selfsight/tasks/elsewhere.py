"""Elsewhere: a patch of the picture was replaced. By one from another place of it, or by one of another picture?

From the journals of an unmixing net (its "patchwork": 48 x 48 pixels pasted into 128 x 128). There, patches of the same
image came from another place and patches of another image from the same one, so that place and seam gave the answer
away. Here both kinds are taken from the same place, which is never the one they cover, and pasted with the same
feathered seam. A patch that equals what it covers would be answered by nothing: of a few places the first is taken at
which either patch would show, so that the place cannot depend on the answer.

Shapes: N images, V = 1 picture, or 2: the picture without the patch, and the patch by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import companions
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.images.patches import feathered, pasted, taken
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat

TRIES = 8
"""Places drawn for each image, of which one is taken."""
SHOWS = 0.04
"""Mean difference of pixels from which a patch is said to show: ten of 255 levels."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Task):
    """Good where an image is of one kind all over and images differ (materials, scenes, drawings in few colours). Poor
    where all images look alike: a patch of another one then belongs as well. An image's own colours are the easiest
    cue; `toned` takes their mean and contrast away."""

    share: float = 0.4
    """Side of the patch, as a share of the picture's side, [0.1, 0.5]."""
    shown: Literal["apart", "pasted"] = "apart"
    """The patch and the picture without it as two pictures that are compared, or the patch in the picture."""
    toned: bool = False
    """Give each patch the mean and the contrast, channel by channel, of what it covers."""
    comparison: Comparison = Comparison()
    """How patch and picture are compared where they are apart."""
    views: Views = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0)).gentle()
    """What is changed before. Crops would let the patch of another image be told by its sharpness."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.share <= 0.5:
            raise ValueError(f"share={self.share}: take a patch of 0.1 to 0.5 of the picture's side")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        if self.shown == "apart":
            return {"head": self.comparison.build(encoder.dim)}
        return {"head": nn.Linear(encoder.dim, 1)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        n, generator, device = len(batch.images), now.generator, batch.images.device
        views = self.views(batch.images, generator)
        others = views[companions(n, 2, generator)[:, 1].to(device)]
        size = max(2, round(self.share * views.shape[-1]))
        to, by = self._places(views, others, size, generator)
        # Ranks in the batch: half of the patches are from another image.
        foreign = (torch.rand(n, generator=generator).argsort() % 2).to(device)
        patches = taken(torch.where(foreign.bool()[:, None, None, None], others, views), by, size)
        patches = self._tone(patches, taken(views, to, size))
        cover = feathered(size, max(1, size // 8)).to(device)
        if self.shown == "pasted":
            inputs = pasted(views, patches, to, cover).unsqueeze(1)
        else:
            gray = torch.full_like(views, 0.5)
            hole = pasted(views, torch.full_like(patches, 0.5), to, torch.ones_like(cover))
            inputs = torch.stack([hole, pasted(gray, patches, to, cover)], 1)
        return Example(inputs, batch.index, foreign)

    def _places(self, views: Tensor, others: Tensor, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Where each patch goes, and where it comes from: (2, N) top and left each."""
        n, room = len(views), views.shape[-1] - size
        drawn = torch.randint(room + 1, (4, n, TRIES), generator=generator).to(views.device)
        to, by = drawn[:2], drawn[2:]
        images, strangers = views.repeat_interleave(TRIES, 0), others.repeat_interleave(TRIES, 0)
        covered = taken(images, to.flatten(1), size)
        changes = [(self._tone(taken(of, by.flatten(1), size), covered) - covered) for of in (images, strangers)]
        least = torch.stack([change.abs().mean((1, 2, 3)) for change in changes]).amin(0).view(n, TRIES)
        least = torch.where((to - by).abs().amax(0) >= min(size // 2, room // 2), least, -1.0)
        chosen = torch.where((least > SHOWS).any(1), (least > SHOWS).int().argmax(1), least.argmax(1))
        picked = drawn.gather(2, chosen.expand(4, n).unsqueeze(2))[..., 0]
        return picked[:2], picked[2:]

    def _tone(self, patches: Tensor, covered: Tensor) -> Tensor:
        if not self.toned:
            return patches
        (mean, std), (wanted, spread) = (
            (x.mean((2, 3), True), x.std((2, 3), keepdim=True)) for x in (patches, covered)
        )
        return ((patches - mean) / (std + 0.02) * spread + wanted).clamp(0, 1)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example)).unflatten(0, example.inputs.shape[:2])
        head = model.parts["head"]
        logits = head(z[:, 0], z[:, 1:]) if self.shown == "apart" else head(z[:, 0])
        return {"foreign": logits[:, 0]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["foreign"].float(), example.answer
        assert answer is not None
        right = ((logits.detach() > 0) == answer.bool()).float().mean()
        return Outcome(F.binary_cross_entropy_with_logits(logits, answer.float()), {"right": right})

    def constant(self, n: int) -> Constant:
        return Constant(math.log(2), "ln 2: both as likely", right=1 / 2)

    def question(self) -> str:
        return "Is the patch from another place of this picture, or from another picture?"

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        return ("another place", "another picture")[int(example.answer[i])]
