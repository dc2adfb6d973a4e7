"""VICReg: make two views agree while every dimension keeps its variance and none repeats another.

Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
equation 6. The paper's variance and covariance terms are sums over the two views; the authors' code halves both
variances (https://github.com/facebookresearch/vicreg): we follow the paper's text.

Where a view source shows more than two pictures of an image, the squared distance is the mean over its pairs of
pictures, and the other two terms are twice the mean over pictures.

Shapes: N images, V views of each, 2 for most, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.choice import apart, compared, together, weight_of
from selfsight.encoder import Encoder
from selfsight.head import perceptron
from selfsight.images.views import Views
from selfsight.maths.gather import gathered
from selfsight.maths.redundancy import EPSILON, covariance, disagreement, variance
from selfsight.task import Constant, Model, Task
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class VICReg(Task):
    """Good with small batches, and where there are no natural negatives. Poor when the projector is narrow: the
    covariance term needs dimensions to spread over."""

    views: ViewSource = Views(crop=(0.4, 1.0))
    """What may change between the two views; or another source of them, on the command line --views generated."""
    invariance: float = 25.0
    """Weight of the squared distance of the views (lambda in the paper)."""
    variance: float = 25.0
    """Weight of the variance hinge (mu)."""
    covariance: float = 1.0
    """Weight of the off-diagonal covariances (nu)."""
    hidden: int = 512
    """Width of the expander's two hidden layers."""
    projection: int = 512
    """P, the expander's output."""

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        expander = perceptron(encoder.dim, self.hidden, self.hidden, self.projection)
        return {"expander": expander, **self.views.parts(encoder.channels)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        return self.views.example(batch, now.generator)

    def predict(self, model: Model, example: Example) -> Prediction:
        pictures, more = compared(self.views, model.encoder, model.parts, example)
        z = model.parts["expander"](self.views.embedded(model.encoder, pictures))
        return {**apart(z, len(z) // len(pictures)), **more}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        z, weight = gathered(together(prediction)), weight_of(prediction, example)
        agree = disagreement(z, None if weight is None else gathered(weight))
        spread, repeat = (2 * torch.stack([term(one) for one in z.unbind(1)]).mean() for term in (variance, covariance))
        measures = {"invariance": agree, "variance": spread, "covariance": repeat}
        loss = self.invariance * agree + self.variance * spread + self.covariance * repeat
        told = {name: value.detach() for name, value in measures.items()}
        return Outcome(loss, {**told, **self.views.measures(prediction)})

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        if self.views.learns:
            self.views.learn(model.parts, example, prediction, self.loss(prediction, example).loss)

    def constant(self, n: int) -> Constant:
        return Constant(2 * self.variance * (1 - EPSILON**0.5), "the views agree, no dimension varies")

    def question(self) -> str:
        return "Describe both views alike, each number of the description telling something of its own."

    def caption(self, example: Example, i: int) -> str:
        return self.views.caption(example, i)
