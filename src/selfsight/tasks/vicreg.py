"""VICReg: make two views agree while every dimension keeps its variance and none repeats another.

Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
equation 6. The paper's variance and covariance terms are sums over the two views; the authors' code halves both
variances (https://github.com/facebookresearch/vicreg): we follow the paper's text.

Shapes: N images, V = 2 views, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.head import perceptron
from selfsight.images.views import Views
from selfsight.maths.gather import gathered
from selfsight.maths.redundancy import EPSILON, covariance, variance
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class VICReg(Task):
    """Good with small batches, and where there are no natural negatives. Poor when the projector is narrow: the
    covariance term needs dimensions to spread over."""

    views: Views = Views(crop=(0.4, 1.0))
    """What may change between the two views."""
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
        return {"expander": perceptron(encoder.dim, self.hidden, self.hidden, self.projection)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        return Example(inputs=self.views.pair(batch.images, now.generator), index=batch.index)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.parts["expander"](model.encoder(flat(example)))
        return {"first": z[0::2], "second": z[1::2]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        z1, z2 = gathered(prediction["first"].float()), gathered(prediction["second"].float())
        agree = F.mse_loss(z1, z2)
        spread = variance(z1) + variance(z2)
        repeat = covariance(z1) + covariance(z2)
        measures = {"invariance": agree, "variance": spread, "covariance": repeat}
        loss = self.invariance * agree + self.variance * spread + self.covariance * repeat
        return Outcome(loss, {name: value.detach() for name, value in measures.items()})

    def constant(self, n: int) -> Constant:
        return Constant(2 * self.variance * (1 - EPSILON**0.5), "the views agree, no dimension varies")

    def question(self) -> str:
        return "Describe both views alike, each number of the description telling something of its own."

    def caption(self, example: Example, i: int) -> str:
        return "one image, two views"
