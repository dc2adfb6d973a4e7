"""SimCLR: find the other view of the same image among the views of all the others.

Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
section 2 (https://github.com/google-research/simclr). We depart in the sizes of projector and batch, which are chosen
for minutes on a CPU, and in AdamW where the paper has LARS; both are fields.

Where a view source shows more than two pictures of an image, each has to find every other: the loss of Khosla et al.
2020, "Supervised Contrastive Learning", equation 2, with the image for the class.

Shapes: N images, V views of each, 2 for most, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.choice import apart, compared, together, weight_of
from selfsight.encoder import Encoder
from selfsight.head import perceptron
from selfsight.images.views import Views
from selfsight.maths.contrast import Form, multi_positive, multi_positive_constant, nt_xent, summed_positive
from selfsight.task import Constant, Model, Task
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class SimCLR(Task):
    """Good with batches of 256 and more and views that keep what matters. Poor with small batches (few candidates), and
    where the views remove what tells the classes apart."""

    views: ViewSource = Views()
    """What may change between the two views; or another source of them, on the command line --views generated."""
    temperature: float = 0.2
    """Divides the cosine similarities; lower looks harder at the nearest candidates. (0, 1]."""
    hidden: int = 512
    """Width of the projector's hidden layer."""
    projection: int = 128
    """P, the projector's output."""
    positives: Form = "each"
    """each: the partners are found one by one; sum: by the sum of their likenesses, a picture's own among them, which
    teaches next to nothing (`maths/contrast.py` says why). Weights of pictures need each."""

    def __post_init__(self) -> None:
        if self.positives == "sum" and self.views.weigh:
            raise ValueError(
                "positives is sum, which knows no weights of pictures: set weigh to 0, or positives to each"
            )

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        projector = perceptron(encoder.dim, self.hidden, self.projection, normalise_last=True)
        return {"projector": projector, **self.views.parts(encoder.channels)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        return self.views.example(batch, now.generator)

    def predict(self, model: Model, example: Example) -> Prediction:
        pictures, more = compared(self.views, model.encoder, model.parts, example)
        z = model.parts["projector"](self.views.embedded(model.encoder, pictures))
        return {**apart(z, len(z) // len(pictures)), **more}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        z, weight = together(prediction), weight_of(prediction, example)
        if self.positives == "sum":
            loss, accuracy = summed_positive(z, self.temperature)
        elif z.shape[1] == 2 and weight is None:
            loss, accuracy = nt_xent(z[:, 0], z[:, 1], self.temperature)
        else:
            loss, accuracy = multi_positive(z, self.temperature, weight)
        return Outcome(loss, {"partner found": accuracy, **self.views.measures(prediction)})

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        if self.views.learns:
            self.views.learn(model.parts, example, prediction, self.loss(prediction, example).loss)

    def constant(self, n: int) -> Constant:
        v = self.views.shown()
        told = f"all {n * v - 1} candidates alike" if self.positives == "each" else f"all {n} images alike"
        formula = f"ln({v}N-1)" if self.positives == "each" else "ln N"
        return Constant(multi_positive_constant(n, v, self.positives), f"{formula}: {told}")

    def question(self) -> str:
        return "Which of all these pictures was made from the same image as this one?"

    def caption(self, example: Example, i: int) -> str:
        return self.views.caption(example, i)
