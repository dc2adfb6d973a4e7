"""RestoreMean: say what was taken away from this picture.

Inpainting (Pathak et al. 2016, "Context Encoders", without their adversary), colouring (Zhang, Isola, Efros 2016,
section 2, by regression in Lab), super-resolution and deblurring, as plain regressions: the baselines of everything
that restores. We depart in the answer, which is what was taken away and not the picture, about the batch's mean of it
and in units of its deviation: whoever knows nothing says nothing, and has a loss of 1.

The shortcut it invites is the neighbourhood: holes, edges and colours are continued from the pixels beside them,
without an idea of what is shown. Large holes and a decoder that never sees the picture leave little of it; of detail
nothing else can tell, so that there the encoder has the least to do. Damage is done after the crop and its resampling,
so that no other grain is left over.

Shapes: N images, V = 1, C channels, A channels of the answer: two for colour, else C.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.decoder import Decoder
from selfsight.encoder import Encoder
from selfsight.images.holes import fill, holes
from selfsight.images.lab import to_lab, to_srgb
from selfsight.images.sharpness import blur
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat

LEFT = {
    "inpaint": "with holes", "colourise": "without colour", "superresolve": "without detail", "deblur": "blurred",
}  # fmt: skip
DETAIL = ("superresolve", "deblur")
"""What is lost is finer than the last map, from which alone a decoder explained 0.3 % of it (emoji, 100 steps)."""


@dataclass(frozen=True, kw_only=True)
class RestoreMean(Task):
    """Good as a first restorer to measure others against, and where things fill the picture. Poor at fine detail: of
    all that could have been there a regression says the mean, and no vector holds every pixel."""

    what: Literal["inpaint", "colourise", "superresolve", "deblur"] = "inpaint"
    """inpaint: hidden squares; colourise: a and b of Lab from L; superresolve: what a smaller picture has lost; deblur:
    what a Gaussian took away."""
    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the damage."""
    decoder: Decoder = Decoder()
    """What makes a picture of what the encoder saw. For superresolve and deblur it always sees the picture too."""
    hidden: float = 0.4
    """Share of a picture that is hidden, (0, 1); inpaint."""
    cells: int = 4
    """Squares a side, of which that share is hidden; inpaint. At least 2."""
    factor: Literal[2, 4] = 4
    """How much smaller the picture was; superresolve."""
    sigma: float = 2.0
    """Deviation of the blur in pixels of a 64-pixel picture, scaled with the side; deblur. More than 0."""

    def __post_init__(self) -> None:
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden is a share of the picture, between 0 and 1, not {self.hidden}")
        if self.cells < 2:
            raise ValueError(f"cells is the number of squares a side, at least 2, not {self.cells}")
        if self.sigma <= 0:
            raise ValueError(f"sigma is a deviation in pixels, more than 0, not {self.sigma}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        decoder = replace(self.decoder, sees_picture=self.decoder.sees_picture or self.what in DETAIL)
        return {"decoder": decoder.build(encoder, 2 if self.what == "colourise" else encoder.channels)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        truth = self.views(batch.images, now.generator)
        left, taken, where = self._damage(truth, now.generator)
        answer = where * (taken - taken.mean(0))
        power = answer.square().sum() / where.expand_as(answer).sum()
        return Example(
            inputs=left.unsqueeze(1),
            index=batch.index,
            answer=answer / power.clamp(min=1e-8).sqrt(),
            extras={"truth": truth, "where": where},
        )

    def _damage(self, truth: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """What is left of each picture, what is to be said, (N, A, H, W), and where, (N, 1, H, W)."""
        n, channels, height, width = truth.shape
        if self.what == "inpaint":
            where = holes(n, height, width, self.cells, self.hidden, generator).to(truth.device)
            return fill(truth, where), truth, where
        everywhere = torch.ones_like(truth[:, :1])
        if self.what == "colourise":
            if channels != 3:
                raise ValueError(f"colourise needs 3 channels, and these images have {channels}: take inpaint")
            lab = to_lab(truth)
            return to_srgb(lab * torch.tensor([1.0, 0, 0], device=lab.device)[:, None, None]), lab[:, 1:], everywhere
        if self.what == "superresolve":
            small = F.interpolate(truth, (max(1, height // self.factor), max(1, width // self.factor)), mode="area")
            left = F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
        else:
            left = blur(truth, torch.full((n,), self.sigma * height / 64, device=truth.device))
        return left, truth - left, everywhere

    def predict(self, model: Model, example: Example) -> Prediction:
        pictures = flat(example)
        z, seen = model.encoder.with_map(pictures)
        return {"taken": model.parts["decoder"](z, seen, pictures)}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        taken, answer, where = prediction["taken"].float(), example.answer, example.extras["where"]
        assert answer is not None
        loss = (where * (taken - answer).square()).sum() / where.expand_as(answer).sum()
        return Outcome(loss, {"explained": 1 - loss.detach()})

    def constant(self, n: int) -> Constant:
        return Constant(1.0, "nothing was taken away but the mean of all: nothing explained")

    def question(self) -> str:
        return {
            "inpaint": "What is hidden in this picture?",
            "colourise": "Which colours did this picture have?",
            "superresolve": f"Which detail was lost when this picture was made {self.factor} times smaller?",
            "deblur": "What did the blur take away from this picture?",
        }[self.what]

    def caption(self, example: Example, i: int) -> str:
        return f"{LEFT[self.what]}, and the truth"
