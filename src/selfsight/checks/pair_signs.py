"""L305: which pairs does the loss draw together, and which does it push apart?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Tail, Unreachable
from selfsight.observations.outside import outside
from selfsight.observations.ownership import of_one_shape, partners, positions
from selfsight.observations.pulls import DRAWS, Pulls, own_negatives, pulled
from selfsight.observations.tails import tail_of
from selfsight.planted import Net, batches, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class PairSigns(Check):
    """In a loss over pairs, an example's other view must attract, the others repel or do nothing, itself do nothing.

    Detected: The net's outputs are made free and drawn at random; the loss's gradient says of every two rows whether
    one is drawn towards the other, relative to all others. Which rows are two views of one example is found by changing
    one example at a time. PROVEN where in every draw the other view repels; where every row is drawn towards a fixed
    row of another example in its stead; and where each row is its own negative (equal outputs then cost the logarithm
    of the number of all rows, and rows at right angles cost more).
    Matters: Such a loss falls and looks healthy; it teaches that unrelated pictures are the same.
    Cure: Check how the views are stacked (one after the other, or in blocks), the labels' offset, and the mask.
    Blind: Losses whose targets come from a twin, a queue or a stop-gradient: their partner is no free output. Without
    Program.views only two rows per example without any answers are asked. A loss upside down is told from exchanged
    positives and negatives by being below zero, which is a guess; both are in the loss.
    """

    code = "L305"
    title = "Do the right pairs attract?"

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            tail, again = tail_of(case, case.batch), tail_of(case, case.batch, seed=1)
        except Unreachable as why:
            raise DoesNotApply(f"the loss cannot be followed from free outputs: {why}") from why
        slots, groups = of_one_shape(partners(case, tail, case.batch, case.other), tail)
        if len(groups) < 3 or not set(slots) <= set(again.slots):
            raise DoesNotApply("no free outputs belong to two views of one example")
        if not case.has("views") and (max(map(len, groups)) > 2 or outside(case)):
            raise DoesNotApply("it is not known which examples belong together")
        first, second = (torch.stack(pulled(one, slots)) for one in (tail, again))
        pulls = Pulls(first, second, positions(tail, slots, groups))
        found = self._signs(tail, pulls) or self._mask(own_negatives(case, slots))
        if found:
            cause, sentence, cure = found
            yield Finding(
                code=self.code, grade=Grade.PROVEN, component="loss", cause=cause, sentence=sentence, cure=cure,
                place=of_code(case.program.loss, "loss"),
                evidence={"pull_of_partner": pulls.partner, "strongest_pull": pulls.other},
            )  # fmt: skip

    def _signs(self, tail: Tail, pulls: Pulls) -> tuple[str, str, str] | None:
        if pulls.partners_repel():
            upside_down = tail.start < 0
            sentence = (
                f"The loss drives the two views of an example apart in all of {2 * DRAWS} random drawings of "
                f"the outputs (pull {pulls.partner:.3g}, where the mean of all pairs is 0)."
            )
            cure = "Turn the loss's sign." if upside_down else "Exchange positives and negatives in the loss's mask."
            return "sign-flipped" if upside_down else "pair-signs", sentence, cure
        if pulls.strangers_attract():
            one, other = pulls.stranger[0]
            sentence = (
                f"Output {one} is drawn towards output {other}, of another example, and so on for all of them (pull "
                f"{pulls.other:.3g}); the pull to an example's own other view is {pulls.partner:.3g}."
            )
            cure = "Check how the views are stacked (in turn, or in two blocks) against the loss's labels or mask."
            return "pair-signs", sentence, cure
        return None

    def _mask(self, count: int) -> tuple[str, str, str] | None:
        if not count:
            return None
        sentence = (
            f"Each output is among its own negatives: equal outputs cost ln({count}), the number of all outputs, and "
            "outputs at right angles cost more, which only a similarity with itself can do."
        )
        return "pair-signs", sentence, "Mask the diagonal of the similarities with -inf before the softmax."

    def planted(self) -> tuple[Program, Program]:
        return _contrastive(apart=1), _contrastive(apart=16)


def _contrastive(apart: int) -> Program:
    """Two noisy views in two blocks of 16; the loss looks for the partner `apart` rows further."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        z = normalize(torch.cat([model(batch[0][0]), model(batch[0][1])]))
        logits = (z @ z.T / 0.2).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        step = apart if apart == 1 else len(z) // 2
        return cross_entropy(logits, (torch.arange(len(z)) + step) % len(z))

    def model() -> nn.Module:
        net = Net()
        net.head = nn.Sequential(nn.Linear(64, 16))
        return net

    def pairs() -> Iterator[Any]:
        for pictures, _ in batches():
            yield ((pictures, pictures + 0.1 * torch.randn_like(pictures)),)

    return tiny(batches=pairs, model=model, loss=loss, views=lambda batch: batch[0])
