"""Unmix: several pictures were mixed into one; which, and in what shares?

The journals of an unmixing net (2020), after the party game of entangled figures: the net sees the mixture and some
candidates. We depart where they failed: shares lie on the simplex (softmax, cross-entropy with soft labels) instead of
one sigmoid each, nothing is normalised over candidates, mixture and candidates are separate views, and all pictures go
through the encoder in one batch.

Shapes: N images, S sources in a mixture, K candidates, V = 1 + K: the mixture first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.candidates import chosen, companions
from selfsight.comparison import Comparison
from selfsight.encoder import Encoder
from selfsight.images.mixing import overlaid, side_by_side
from selfsight.images.views import Views
from selfsight.maths.simplex import draw_shares
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class Unmix(Task):
    """Good where pictures differ in what they show. Poor where they differ in tone alone. It invites the net to compare
    mean colours, of which a mixture's is the weighted mean; views that change tone and colour close that way."""

    sources: int = 2
    """S, pictures in a mixture; at least 2, at most K."""
    candidates: int = 3
    """K, pictures to choose from; those beyond S are absent from the mixture."""
    answer: Literal["shares", "which"] = "shares"
    """shares: each candidate's share of the mixture; which: whether it is in it at all (needs S < K)."""
    mixing: Literal["pixels", "regions"] = "pixels"
    """pixels: laid over one another; regions: side by side in parallel bands at any angle."""
    concentration: float = 1.0
    """Of the Dirichlet (for S = 2: Beta) distribution of shares; above 1 equal shares are likelier."""
    least: float = 0.2
    """Smallest share of a picture that is in the mixture, [0, 1/S)."""
    views: Views = field(default_factory=lambda: Views(crop=(0.5, 1.0), hue=0.05, gray=0.0, blur=0.0))
    """What may differ between a picture in the mixture and the candidate it came from."""
    same_view: bool = False
    """Show candidates exactly as they were mixed, as the journals did: easier, but mean colours tell the shares."""
    comparison: Comparison = Comparison()
    """How the mixture is compared with a candidate."""

    def __post_init__(self) -> None:
        if not 2 <= self.sources <= self.candidates:
            raise ValueError(f"sources is 2 to {self.candidates} (candidates), not {self.sources}")
        if self.answer == "which" and self.sources == self.candidates:
            raise ValueError(
                f"with answer='which' some of the {self.candidates} candidates must be absent: lower sources"
            )
        if not 0 <= self.least < 1 / self.sources:
            raise ValueError(f"least is a share in [0, 1/{self.sources}), not {self.least}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": self.comparison.build(encoder.dim)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        rows = companions(len(batch.images), self.candidates, now.generator).to(batch.images.device)
        present = chosen(len(rows), self.sources, self.candidates, now.generator)
        drawn = draw_shares(len(rows), self.sources, self.concentration, self.least, now.generator)
        shares = torch.zeros(present.shape).masked_scatter(present, drawn).to(batch.images.device)
        shown = self._seen(batch.images, rows, now.generator)
        mixed = shown if self.same_view else self._seen(batch.images, rows, now.generator)
        own = present.nonzero()[:, 1].view(len(rows), self.sources).to(rows.device)
        mixed = mixed[torch.arange(len(rows), device=rows.device).unsqueeze(1), own]
        mixture = self._mixed(mixed, shares.gather(1, own), now.generator)
        inputs = torch.cat([mixture.unsqueeze(1), shown], 1).clamp(0, 1)
        return Example(
            inputs=inputs, index=batch.index, answer=shares if self.answer == "shares" else (shares > 0).float()
        )

    def _seen(self, images: Tensor, rows: Tensor, generator: Generator) -> Tensor:
        return self.views(images[rows.flatten()], generator).unflatten(0, rows.shape)

    def _mixed(self, sources: Tensor, shares: Tensor, generator: Generator) -> Tensor:
        if self.mixing == "pixels":
            return overlaid(sources, shares)
        return side_by_side(sources, shares.cpu(), generator)

    def predict(self, model: Model, example: Example) -> Prediction:
        z = model.encoder(flat(example)).unflatten(0, example.inputs.shape[:2])
        return {"logits": model.parts["head"](z[:, 0], z[:, 1:])}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        logits, answer = prediction["logits"].float(), example.answer
        assert answer is not None
        if self.answer == "which":
            right = ((logits.detach() > 0) == (answer > 0.5)).float().mean()
            return Outcome(F.binary_cross_entropy_with_logits(logits, answer), {"right": right})
        told = logits.detach().softmax(1)
        right = (told.argmax(1) == answer.argmax(1)).float().mean()
        return Outcome(F.cross_entropy(logits, answer), {"right": right, "error": (told - answer).abs().mean()})

    def constant(self, n: int) -> Constant:
        if self.answer == "shares":
            meaning = f"ln {self.candidates}: every candidate's share alike"
            return Constant(math.log(self.candidates), meaning, right=1 / self.candidates)
        p = self.sources / self.candidates
        entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
        return Constant(entropy, f"each candidate is in it with chance {p:.2g}", right=max(p, 1 - p))

    def question(self) -> str:
        return (
            "What share does each picture have in the first, which is a mixture?"
            if self.answer == "shares"
            else "Which of these pictures are in the first, which is a mixture?"
        )

    def caption(self, example: Example, i: int) -> str:
        assert example.answer is not None
        told = example.answer[i].tolist()
        return (
            "shares " + ", ".join(f"{share:.2f}" for share in told)
            if self.answer == "shares"
            else ("in it: " + ", ".join(str(k + 1) for k, there in enumerate(told) if there))
        )
