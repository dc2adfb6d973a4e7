"""Which transform: what was done to this picture?

The journals of an unmixing net, "Albumentations": tell whether one transform (a channel shuffle, an elastic
deformation, a vertical flip) was applied. There, a shuffle was the identity one time in six and a symmetric image was
flipped unseen, so that a share of the answers was wrong. We depart in asking which of a list, in showing each picture
transformed, and in giving images only what can be seen on them.

The shortcut it invites is the softness of what was resampled: every picture is resampled exactly once, the turned, the
bent and the untouched alike (`images/transforms.py`), and blocks of JPEG begin anywhere. Zoom is left out of the usual
list, since what comes nearer is softer. Blur, noise and JPEG are themselves small things: a list of only these is
solved without any idea of the whole.

Shapes: N images, V = 1, K names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.transforms import WORDS, transform, visible
from selfsight.maths.answers import half, suited
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class WhichTransform(Task):
    """Good where things have an upright position, usual colours and a known shape: the list can then ask for all three.
    Poor on textures and pictures from above, where flip and turn cannot be told, and with lists that fine grain alone
    gives away."""

    among: tuple[str, ...] = ("flip", "turn", "shear", "elastic", "colours", "median", "jpeg", "noise")
    """At least two of mirror, flip (upside down), turn (a quarter), shear, zoom, elastic, colours (channels in a wrong
    order; of one channel the negative), blur, median, jpeg, posterise, solarise, noise, sharpen; applied in this order.
    """
    several: bool = False
    """Each of the list on half of the pictures, by itself, and a yes or no to each, where False applies exactly one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "among", tuple(self.among))
        unknown = [name for name in self.among if name not in WORDS]
        if unknown or len(set(self.among)) != len(self.among) or len(self.among) < 2:
            raise ValueError(f"among names at least two different ones of {', '.join(WORDS)}, not {self.among}")
        if self.several and {"mirror", "flip", "turn"} <= set(self.among):
            raise ValueError(
                "mirror, flip and turn cannot be told apart where several are applied (turned and flipped is "
                "turned the other way and mirrored): leave one of them out of among"
            )

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": nn.Linear(encoder.dim, len(self.among))}

    def prepare(self, batch: Batch, now: Now) -> Example:
        images = batch.images.float() / 255
        can = visible(images, self.among)
        if self.several:
            wanted = half(can, now.generator)
        else:
            answer = suited(can, now.generator)
            wanted = F.one_hot(answer, len(self.among)).bool()
        pictures, applied = transform(images, wanted, self.among, now.generator)
        seen = (applied & can).any(1)
        return Example(
            inputs=pictures.unsqueeze(1),
            index=batch.index,
            answer=(applied & can).float() if self.several else answer,
            extras={"asked": seen | self.several},
        )

    def predict(self, model: Model, example: Example) -> Prediction:
        return {"logits": model.parts["head"](model.encoder(flat(example)))}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer, asked = prediction["logits"].float(), example.answer, example.extras["asked"].float()
        assert answer is not None
        if self.several:
            each = F.binary_cross_entropy_with_logits(logits, answer, reduction="none").mean(1)
            right = ((logits.detach() > 0) == answer.bool()).float().mean(1)
        else:
            each = F.cross_entropy(logits, answer, reduction="none")
            right = (logits.detach().argmax(1) == answer).float()
        count = asked.sum().clamp(min=1)
        return Outcome((each * asked).sum() / count, {"right": (right * asked).sum() / count})

    def constant(self, n: int) -> Constant:
        if self.several:
            return Constant(math.log(2), "ln 2: each applied or not, as likely", right=0.5)
        k = len(self.among)
        return Constant(math.log(k), f"ln {k}: every transform as likely", right=1 / k)

    def question(self) -> str:
        return (
            "Which of these was done to this picture, and which not?"
            if self.several
            else (f"Which of {len(self.among)} transforms was applied to this picture?")
        )

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        if not example.extras["asked"][i]:
            return "nothing to be seen: not asked"
        if not self.several:
            return WORDS[self.among[int(example.answer[i])]]
        done = [name for name, yes in zip(self.among, example.answer[i].tolist(), strict=True) if yes]
        return ", ".join(done) or "nothing"
