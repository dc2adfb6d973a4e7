"""Decompose: take this picture apart into masks that compose it.

Slot Attention (Locatello et al. 2020) and MONet (Burgess et al. 2019), in forms that a CPU trains in minutes:
`slots.py` says how pixels are shared out and where we depart. Each slot paints one picture from what the encoder says
where its mask lies; masks sum to one at every pixel, so that none can be full beside another, and all together
compose the picture.

A slot's picture is smooth, as it is painted on a grid of a few places: what differs in colour needs slots of its own.
The shortcut this invites is colour: two things alike in colour are one thing, and a thing of two colours is two.

Shapes: N images, V = 1, K slots, C channels, S side, P pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.slots import Competition, Painter, Pixels, Sticks, weighted
from selfsight.task import Constant, Model, Task, flat

LEAST = 1e-6
"""No picture's change counts as less, and no share in a mixture."""
USED = 0.01
"""A slot is used that has more of the picture."""


@dataclass(frozen=True, kw_only=True)
class Decompose(Task):
    """Good where things have colours or brightness of their own. Poor on textures and photographs, which it cuts up by
    colour."""

    shares: Literal["slots", "sticks", "decoded"] = "slots"
    """slots: by nearness, softmax over slots; sticks: slot after slot takes of what is left; decoded: by the
    painter's last channel, softmax over slots, as published for Slot Attention."""
    slots: int = 6
    """K; more than the things to be found, and one for the background. At least 2."""
    rounds: int = 3
    """In which slots compete; none for sticks. At least 1."""
    error: Literal["owned", "composed", "mixture"] = "owned"
    """owned: each slot's squared error where its mask lies; composed: that of the composition; mixture: the
    likelihood of a mixture of Gaussians of `deviation`."""
    deviation: float = 0.1
    """Of the mixture, in units of [0, 1] pixels. More than 0."""
    sees_picture: bool = True
    """Pixels are shared by their colours too, not by the encoder's features alone: quicker, and an idler encoder.
    What slots paint comes from the encoder alone."""
    paint: int = 4
    """Places a side on which a slot's picture is painted; 1 is one colour. At least 1; decoded: 8 at least."""
    features: int = 16
    """F, of a pixel. At least 2."""
    width: int = 64
    """Of a slot's vector. At least 8."""
    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the picture is taken apart."""

    def __post_init__(self) -> None:
        least = {"slots": 2, "rounds": 1, "paint": 8 if self.shares == "decoded" else 1, "features": 2, "width": 8}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is at least {low} with shares={self.shares!r}, not {getattr(self, name)}")
        if self.deviation <= 0:
            raise ValueError(f"deviation is that of pixels in [0, 1], more than 0, not {self.deviation}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        decoded = self.shares == "decoded"
        slots = Sticks() if self.shares == "sticks" else Competition(self.features, self.width, self.rounds)
        return {
            "pixels": Pixels(encoder, self.features, self.width, self.sees_picture),
            "sharing": slots,
            "painter": Painter((1 + decoded) * self.width, self.width, self.paint, encoder.channels + decoded),
        }

    def prepare(self, batch: Batch, now: Now) -> Example:
        truth = self.views(batch.images, now.generator)
        numbers = torch.rand(len(truth), self.slots, generator=now.generator)
        return Example(truth.unsqueeze(1), batch.index, truth, {"numbers": numbers.to(truth.device)})

    def predict(self, model: Model, example: Example) -> Prediction:
        images = flat(example)
        side, parts = images.shape[-1], model.parts
        pixels, said = cast(Pixels, parts["pixels"])(model.encoder.maps(images), images)
        logits, slots = parts["sharing"](pixels, example.extras["numbers"])
        logits = logits.unflatten(2, (side, side))
        coarse = F.adaptive_avg_pool2d(logits.softmax(1), said.shape[-1]).flatten(2)
        seen = weighted(coarse, said.flatten(2).transpose(1, 2).to(coarse))
        if self.shares != "decoded":
            return {"logits": logits, "pictures": parts["painter"](seen, side)}
        painted = parts["painter"](torch.cat([seen, slots.to(seen)], 2), side)
        return {"logits": painted[:, :, -1], "pictures": painted[:, :, :-1]}

    def masks(self, prediction: Prediction, example: Example) -> Tensor:
        """(N, K, S, S) in [0, 1], which sum to one at every pixel."""
        logits = prediction["logits"]
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        masks = self.masks(prediction, example)
        kind = masks.dtype
        pictures, truth = prediction["pictures"].to(kind), flat(example).to(kind)
        n, far = len(truth), (pictures - truth[:, None]).square().mean(2)
        unit = (truth.var(0, correction=min(1, n - 1)).mean()).clamp(min=LEAST)
        composed = ((masks[:, :, None] * pictures).sum(1) - truth).square().mean() / unit
        if self.error == "composed":
            loss = composed
        elif self.error == "owned":
            loss = (masks * far).sum(1).mean() / unit
        else:
            loss = self._surprise(masks, far, truth.shape[1]) / unit
        shown = masks.detach()
        measures = {
            "explained": 1 - composed.detach(),
            "largest": shown.amax(1).mean(),
            "used": (shown.mean((2, 3)) > USED).sum(1).to(kind).mean(),
        }
        return Outcome(loss, measures)

    def _surprise(self, masks: Tensor, far: Tensor, channels: int) -> Tensor:
        """-2 sigma^2 / C of the log likelihood of a pixel, without its constant: the squared error where one slot has
        all."""
        scale = 2 * self.deviation**2 / channels
        every = (masks + LEAST).log() - far / scale
        return -scale * every.logsumexp(1).mean()

    def constant(self, n: int) -> Constant:
        meaning = "about 1: every picture's mean picture" if self.error == "mixture" else "1: the mean picture"
        return Constant(1.0, meaning)

    def question(self) -> str:
        return f"Which {self.slots} masks take this picture apart, so that a simple picture behind each composes it?"

    def caption(self, example: Example, i: int) -> str:
        return "to be composed"
