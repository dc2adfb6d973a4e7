"""Tokens: spell a picture out, token by token, so that any beginning of the spelling is a picture.

Variable Length Embeddings (arXiv 2305.09967): every pass encodes what the passes before have left over. How a token is
written and read is the speller's (`spellers/`); here is asked for so many tokens, and taken a loss of the pictures that
are read. We depart in the unit, which is the pictures' variance about the batch's mean: whoever cannot tell one picture
from another has 1.

The shortcut it invites is what all reconstruction invites: most of a picture's squared error is in its coarse colours,
which say little of what is shown.

Shapes: N images, V = 1, K lengths whose pictures are trained on, T tokens at most, C channels, S side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.speller import Speller, Spelling
from selfsight.spellers import Bands
from selfsight.task import Constant, Model, Task, flat

CALIBRATED = 10
"""How often in a training it is counted how much numbers vary; the last time after its last step."""


@dataclass(frozen=True, kw_only=True)
class Tokens(Task):
    """Good for embeddings of any length, and for pictures of known distance from the truth. Poor as a first task for
    an encoder: pixels are most of what it asks."""

    speller: Speller = Bands()
    """What writes and reads: Bands, or Recurrent, the original."""
    lengths: Literal["nested", "uniform", "folded", "one"] = "nested"
    """How many tokens a step asks for. nested: each picture its own number, every number as often; uniform: one for
    the batch; folded: one for the batch, |normal| about a mean that rises from 0 to T over `rising`; one: a single
    token always, and the rest of the spelling is a loop around what was learned so."""
    rising: float = 0.5
    """Share of the training over which folded lengths rise, and the final loss's weight. (0, 1]."""
    losses: Literal["both", "final", "auxiliary"] = "both"
    """final: the picture after the last token; auxiliary: what each token changes beside what was left before it. both:
    the weight of final rises from 0 to 1/2. A speller that is trained at one length a picture has only final."""
    emphasis: float = 0.65
    """Pictures of k tokens count k ** emphasis as much: errors fall about so (32 floats a token, photographs and emoji:
    to a fifth from 1 to 12 tokens), and all lengths are to count alike. At least 0."""
    information: float = 0.0
    """Price of a nat in a drawn token, in units of the loss; a variational Recurrent alone has any."""
    views: Views = Views(crop=(0.6, 1.0)).gentle()
    """What is changed before a picture is spelled."""

    def __post_init__(self) -> None:
        if not 0 < self.rising <= 1 or self.emphasis < 0 or self.information < 0:
            raise ValueError(
                f"rising is a share of the training in (0, 1], emphasis and information are at least 0, not "
                f"{self.rising}, {self.emphasis} and {self.information}"
            )

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"speller": self.speller.build(encoder)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        truth = self.views(batch.images, now.generator)
        n = len(truth)
        counts = self._counts(n, now).to(truth.device)
        seed = torch.randint(2**31, (1,), generator=now.generator).expand(n)
        weight = 0.5 * min(1.0, now.share / self.rising)
        extras = {"truth": truth, "counts": counts, "seed": seed, "final": torch.full((n,), weight)}
        return Example(truth.unsqueeze(1), batch.index, truth, extras)

    def _counts(self, n: int, now: Now) -> Tensor:
        """(N,) tokens that are asked for, 1..T."""
        most = self.speller.tokens
        if self.lengths == "nested":  # every number as often, in any order: losses of two steps are then alike
            start = torch.randint(most, (1,), generator=now.generator)
            return ((torch.arange(n) + start) % most + 1)[torch.randperm(n, generator=now.generator)]
        if self.lengths == "one":
            one = torch.ones(1, dtype=torch.long)
        elif self.lengths == "uniform":
            one = torch.randint(1, most + 1, (1,), generator=now.generator)
        else:
            mean = most * min(1.0, now.share / self.rising)
            places = torch.arange(1, most + 1).double()
            odds = torch.exp(-((places - mean) ** 2) / 2) + torch.exp(-((places + mean) ** 2) / 2)
            one = 1 + torch.multinomial(odds, 1, generator=now.generator)
        return one.expand(n).clone()

    def predict(self, model: Model, example: Example) -> Prediction:
        spelling = cast(Spelling, model.parts["speller"])
        images = flat(example).to(next(spelling.parameters()))
        done = spelling.practise(images, model.encoder, example.extras["counts"], int(example.extras["seed"][0]))
        return {"pictures": done.pictures, "changes": done.changes, "price": done.price}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        pictures, changes = (_precise(prediction[name]) for name in ("pictures", "changes"))
        truth = example.extras["truth"].to(pictures)
        lengths = pictures.shape[1]
        counts = example.extras["counts"].to(pictures.device)
        power = counts.to(pictures) ** self.emphasis
        power = power / power.sum()
        unit = _variance(truth, power)
        last = (counts - 1).clamp(max=lengths - 1)
        far = (pictures - truth[:, None]).square().flatten(2).mean(2)
        final = (far.gather(1, last[:, None])[:, 0] * power).sum() / unit
        loss = final
        if lengths > 1 and self.losses != "final":
            before = torch.cat([torch.full_like(pictures[:, :1], 0.5), pictures[:, :-1]], 1)
            each = (truth[:, None] - before.detach() - changes).square().flatten(2).mean(2)
            asked = torch.arange(lengths, device=counts.device) < counts[:, None]
            auxiliary = ((each * asked).sum(1) / counts * power).sum() / unit
            share = float(example.extras["final"][0]) if self.losses == "both" else 0.0
            loss = share * final + (1 - share) * auxiliary
        loss = loss + self.information * prediction["price"].mean()
        return Outcome(loss, {"explained": 1 - final.detach()})

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        spelling, images = cast(Spelling, model.parts["speller"]), flat(example)
        self.speller.settle(spelling, images, now)
        done = now.step + 1
        if done == now.steps or done % max(1, now.steps // CALIBRATED) == 0:
            spelling.calibrate(images, model.encoder)

    def keepsake(self, model: Model, images: Tensor) -> dict[str, Tensor]:
        """Tokens (M, T, D), and squared errors (M, T + 1) after 0 ... T of them."""
        spelling, pictures = cast(Spelling, model.parts["speller"]), images.float() / 255
        spelt = spelling.spell(pictures, model.encoder)
        return {"tokens": spelt.numbers, "errors": spelt.errors(pictures)}

    def constant(self, n: int) -> Constant:
        return Constant(1.0, "about 1: the mean picture for every picture, whatever its length")

    def question(self) -> str:
        return "What does the next token have to say, so that the picture can be read from them?"

    def caption(self, example: Example, i: int) -> str:
        return f"to be spelled with {int(example.extras['counts'][i])} tokens"


def _precise(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _variance(truth: Tensor, power: Tensor) -> Tensor:
    """Of pixels about the mean picture, weighed by power (N,), which sums to 1; unbiased, at least 1e-6."""
    weights = power[:, None, None, None]
    about = truth - (weights * truth).sum(0)
    spread = (weights * about.square()).sum(0).mean()
    return (spread / (1 - power.square().sum()).clamp(min=1e-6)).clamp(min=1e-6)
