"""SimCLR: find the other view of the same image among the views of all the others.

Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
section 2 (https://github.com/google-research/simclr). We depart in the sizes of projector and batch, which are chosen
for minutes on a CPU, and in AdamW where the paper has LARS; both are fields.

Shapes: N images, V = 2 views, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.head import perceptron
from selfsight.images.views import Views
from selfsight.maths.contrast import nt_xent, nt_xent_constant
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class SimCLR(Task):
    """Good with batches of 256 and more and views that keep what matters. Poor with small batches (few candidates), and
    where the views remove what tells the classes apart."""

    views: Views = Views()
    """What may change between the two views."""
    temperature: float = 0.2
    """Divides the cosine similarities; lower looks harder at the nearest candidates. (0, 1]."""
    hidden: int = 512
    """Width of the projector's hidden layer."""
    projection: int = 128
    """P, the projector's output."""

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"projector": perceptron(encoder.dim, self.hidden, self.projection, normalise_last=True)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        return Example(inputs=self.views.pair(batch.images, now.generator), index=batch.index)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.parts["projector"](model.encoder(flat(example)))
        return {"first": z[0::2], "second": z[1::2]}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        loss, accuracy = nt_xent(prediction["first"], prediction["second"], self.temperature)
        return Outcome(loss, {"partner found": accuracy})

    def constant(self, n: int) -> Constant:
        return Constant(nt_xent_constant(n), f"ln(2N-1): all {2 * n - 1} candidates alike")

    def question(self) -> str:
        return "Which of all these pictures was made from the same image as this one?"

    def caption(self, example: Example, i: int) -> str:
        return "one image, two views"
