"""BYOL: foretell how a slowly moving twin describes the other view.

Grill et al. 2020, "Bootstrap your own latent: A new approach to self-supervised Learning", section 3
(https://github.com/google-deepmind/deepmind-research/tree/master/byol). We depart in the twin's starting momentum: the
paper's 0.996 is for a million steps; a training of some thousand needs a twin that moves.

Where a view source shows more than two pictures of an image, each foretells every other; the loss is twice the mean
over these, which for two is the paper's sum.

Shapes: N images, V views of each, 2 for most, P projection.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.choice import apart, compared, together, weight_of
from selfsight.encoder import Encoder
from selfsight.head import perceptron
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class BYOL(Task):
    """Good with long trainings, and where other images make poor negatives (many near-duplicates). Poor in the first
    minutes; and its loss says little, since a constant answer has the lowest: watch the probe."""

    views: ViewSource = Views(crop=(0.4, 1.0))
    """What may change between the two views; or another source of them, on the command line --views generated."""
    momentum: float = 0.98
    """How much of itself the twin keeps in the first step; rises to 1 along a cosine. [0, 1]."""
    hidden: int = 512
    """Width of the hidden layers."""
    projection: int = 128
    """P, output of projector and predictor."""

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        projector = perceptron(encoder.dim, self.hidden, self.projection)
        twin = nn.ModuleDict({"encoder": copy.deepcopy(encoder), "projector": copy.deepcopy(projector)})
        return {
            "projector": projector,
            "predictor": perceptron(self.projection, self.hidden, self.projection),
            "twin": twin.requires_grad_(False),
            **self.views.parts(encoder.channels),
        }

    def prepare(self, batch: Batch, now: Now) -> Example:
        return self.views.example(batch, now.generator)

    def predict(self, model: Model, example: Example) -> Prediction:
        pictures, more = compared(self.views, model.encoder, model.parts, example)
        foretold = model.parts["predictor"](model.parts["projector"](self.views.embedded(model.encoder, pictures)))
        twin, v = _twin(model), len(foretold) // len(pictures)
        with torch.no_grad():
            seen = twin["projector"](self.views.embedded(twin["encoder"], pictures))
        return {**apart(foretold, v), **apart(seen, v, " seen"), **more}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        foretold, seen, weight = together(prediction), together(prediction, " seen"), weight_of(prediction, example)
        spread = F.normalize(prediction["first seen"].float(), dim=1).std(0).mean() * self.projection**0.5
        measures = {"spread of the twin": spread.detach(), **self.views.measures(prediction)}
        return Outcome(2 * _distance(foretold, seen, weight), measures)

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        keep = 1 - (1 - self.momentum) * (math.cos(math.pi * now.share) + 1) / 2
        twin = _twin(model)
        with torch.no_grad():
            for own, other in ((model.encoder, twin["encoder"]), (model.parts["projector"], twin["projector"])):
                torch._foreach_lerp_(list(other.parameters()), list(own.parameters()), 1 - keep)
        if self.views.learns:
            self.views.learn(model.parts, example, prediction, self.loss(prediction, example).loss)

    def constant(self, n: int) -> Constant:
        return Constant(0.0, "both always say the same", optimal=True)

    def question(self) -> str:
        return "How will the twin, who sees the other view, describe it?"

    def caption(self, example: Example, i: int) -> str:
        return self.views.caption(example, i)


def _twin(model: Model) -> nn.ModuleDict:
    twin = model.parts["twin"]
    assert isinstance(twin, nn.ModuleDict)
    return twin


def _distance(foretold: Tensor, seen: Tensor, weight: Tensor | None) -> Tensor:
    """Mean squared distance of the normalised vectors, 2 - 2 cos: equation 2, over all pairs of an image's pictures.

    (N, V, P) twice, weight (N, V) or None -> scalar in [0, 4].
    """
    v = foretold.shape[1]
    far = 2 - 2 * F.cosine_similarity(foretold[:, :, None], seen[:, None], dim=3)
    counts = (1 - torch.eye(v, device=far.device)).expand_as(far)
    if weight is not None:
        counts = counts * weight[:, :, None] * weight[:, None]
    return (far * counts).sum() / counts.sum()
