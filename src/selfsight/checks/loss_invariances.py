"""L303: what does the loss not notice, that it should?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code
from selfsight.instruments.reach import Unreachable
from selfsight.observations.invariance import Scaling, batchwise_softmax, one_length, scaling, written_in
from selfsight.observations.outside import outside
from selfsight.observations.tails import Twofold, twofold
from selfsight.planted import tiny
from selfsight.program import Program

CURE = "Name the dimension of the features: dim=1 (or -1) for outputs of shape (N, D)."


@dataclass(frozen=True)
class LossInvariances(Check):
    """A normalisation over the wrong dimension leaves its mark: the loss stops noticing the wrong thing.

    Detected: The last weights' outputs are made free and multiplied: all of them, one example's, one feature's. PROVEN
    where all together may be scaled unnoticed but neither an example nor a feature (the whole tensor was normalised, in
    the place that is named), where each feature may be scaled over the batch but no example (features were normalised
    over the batch, in a loss that compares examples), and where a softmax runs over the batch though each example has
    its own target.
    Matters: Each example's output then depends on whom it shares a batch with, and cosines shrink with the batch. A
    contrastive loss stays near the logarithm of the number of candidates; no rate and no network changes that.
    Cure: Name the dimension of the features: dim=1 (or -1) for outputs of shape (N, D).
    Blind: A normalisation before the last layer with weights (the dependence of examples on each other shows that one),
    and outputs that no gradient reaches. Standardising (minus mean, by deviation) over the batch, losses that compare
    features with features, and square matrices of similarities are taken as meant. The whole-tensor case is
    tensorflow/similarity 233 on GitHub.
    """

    code = "L303"
    title = "Does the loss normalise over the right dimension?"

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            two = twofold(case)
        except Unreachable as why:
            raise DoesNotApply(f"the loss cannot be followed from free outputs: {why}") from why
        slots = two.by_example()
        if not slots:
            raise DoesNotApply("no free output has one row or more per example")
        groups = [slots] if len(slots) == 1 else [slots, *([slot] for slot in slots)]
        found: dict[str, Finding] = {}
        for group in groups:
            seen = scaling(two, group)
            place = one_length(two, group) if seen.whole else None
            if place is not None:
                found.setdefault("whole", self._whole(case, two, seen, place))
            elif seen.columns:
                found.setdefault("columns", self._columns(case, seen))
        for slot in slots:
            softmax = batchwise_softmax(two, slot)
            if softmax is not None:
                found.setdefault("softmax", self._softmax(case, *softmax))
        yield from found.values()

    def _whole(self, case: Case, two: Twofold, seen: Scaling, place: Place) -> Finding:
        inside = written_in(case.model(), place)
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="model" if inside else "loss", cause="whole-tensor-normalise",
            sentence=f"The outputs of all {two.count} examples are divided by one common length: scaling all of them "
            f"changes the loss by {seen.all:.1g}, scaling one example's alone by {seen.row:.3g}.",
            cure=CURE, place=place, evidence=seen.numbers,
        )  # fmt: skip

    def _columns(self, case: Case, seen: Scaling) -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="loss", cause="normalises-over-batch",
            sentence=f"Each feature is normalised over the batch, not each example over its features: scaling a "
            f"feature changes the loss by {seen.column:.1g}, scaling one example by {seen.row:.3g}.",
            cure=CURE, place=of_code(case.program.loss, "loss"), evidence=seen.numbers,
        )  # fmt: skip

    def _softmax(self, case: Case, place: Place, shape: tuple[int, ...]) -> Finding:
        inside, answers = written_in(case.model(), place), outside(case)
        return Finding(
            code=self.code, grade=Grade.PROVEN if answers else Grade.NOTE, component="model" if inside else "loss",
            cause="normalises-over-batch", place=place, evidence={"shape": str(shape)},
            sentence=f"{place.name} runs over the {shape[0]} examples of a batch, not over the {shape[1]} outputs of "
            "each: adding a number to one output of every example leaves the loss as it was.",
            cure="Give softmax the dimension of the outputs: dim=1 (or -1).",
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def wrong(model: nn.Module, batch: Any) -> Tensor:
            return nn.functional.nll_loss(model(batch[0]).log_softmax(0), batch[1])

        def cosine(model: nn.Module, batch: Any) -> Tensor:
            z = nn.functional.normalize(model(batch[0]), dim=1)
            return cross_entropy(z @ torch.eye(z.shape[1]) / 0.2, batch[1])

        return tiny(loss=wrong), tiny(loss=cosine)
