"""M201: does the model keep the examples of a batch apart?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, nll_loss

from selfsight.case import Case
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.examples import Run, Undividable
from selfsight.instruments.place import Place, of_module
from selfsight.observations.mixing import Mixing, mixing
from selfsight.planted import CLASSES, tiny
from selfsight.program import Program

TOLD = {
    "whole-tensor-normalise": (
        "{named} gives the whole batch of {count} the length 1 together, instead of each example.",
        "Normalise each example by itself: F.normalize(z, dim=1).",
    ),
    "normalises-over-batch": (
        "{named} normalises over the batch: a number sums or squares to 1 over {count} examples, not in one.",
        "Normalise within an example: dim=1 or dim=-1, not dim=0.",
    ),
    "mixes-examples": (
        "Of {count} examples, {own} act on their own output of {named}, and in {off} of {pairs} cases one example "
        "changes the output of another.",
        "Keep the batch axis first: stack over dim=1, permute before view; attention wants batch_first=True.",
    ),
    "": (
        "{named} uses a statistic of the batch: what it says of one example depends on the other {others}.",
        "Where that is not meant, take the statistic of each example by itself.",
    ),
}
"""What is said of each cause, and its cure; "" is the note."""


@dataclass(frozen=True)
class MixedExamples(Check):
    """What is said about one example must not depend on which others happen to share its batch.

    Detected: One example after the other is replaced by one of another batch, and each step of the forward pass is
    compared: PROVEN where a module or a reshape whose inputs keep the examples apart puts out rows that depend on other
    examples, or where a tensor on the way to the loss is normalised over the batch axis or as a whole. The innermost
    such step is named. The model runs in eval mode and without batch statistics, so that batch norm is not meant.
    Matters: Rows of one example are trained against the answer of another; only a batch of one is right.
    Cure: Put the batch axis first in every cat, view, softmax, normalize and attention, or say dim= and batch_first=.
    Blind: Programs that run only on a whole batch; mixing that differs from draw to draw, as mixup and shuffled
    negatives do; statistics of the batch, which are at most a NOTE; what happens between modules, but for reshapes and
    normalisations. Source: the journals of an unmixing net, which put slots one after the other and viewed them as
    examples; Karpathy's recipe (2019) charts dependencies by gradient.
    """

    code = "M201"
    title = "Does the model keep the examples of a batch apart?"

    def look(self, case: Case) -> Iterator[Finding]:
        runs: list[Run] = [case.loss]
        if case.has("embed"):
            runs.append(lambda model, batch, seed: case.call("embed", model, batch, seed=seed))
        why = None
        for run in runs:
            try:
                mixed = mixing(case, run)
            except Undividable as error:
                why = why or error
                continue
            found = None if mixed is None else self._judged(*mixed)
            if found is not None:
                yield found
                return
        if why is not None:
            raise DoesNotApply(str(why))

    def _judged(self, outer: Mixing, inner: Mixing) -> Finding | None:
        """Outer: the first step that mixes; inner: where in it."""
        pattern, inside = inner.pattern, outer.event.number >= 0
        if pattern == "centred" or outer.pattern == "centred":
            return None
        if pattern == "whole":
            return self._finding("model" if inside else "loss", "whole-tensor-normalise", outer, inner)
        if pattern == "columns":
            return self._finding("model", "normalises-over-batch", outer, inner)
        if not inside:
            return self._finding("model", "mixes-examples", outer, inner) if outer.owned.torn else None
        if inner.owned.swapped and (outer.twin or not outer.owned.torn):  # shuffled negatives beside the positives
            return None
        if inner.direct or outer.owned.torn:
            return self._finding("model", "mixes-examples", outer, inner)
        return self._finding("model", "mixes-examples", outer, inner, Grade.NOTE)

    def _finding(
        self, component: Component, cause: str, outer: Mixing, inner: Mixing, grade: Grade = Grade.PROVEN
    ) -> Finding:
        matrix = outer.owned.matrix
        assert matrix is not None
        place, moved, count = _place(outer, inner), matrix > 0, len(matrix)
        own = int(moved.diagonal().sum())
        numbers = {"count": count, "own": own, "off": int(moved.sum()) - own, "pairs": count * (count - 1)}
        said, cure = TOLD["" if grade == Grade.NOTE else cause]
        evidence: dict[str, Any] = {
            **numbers,
            "matrix": [[round(value, 5) for value in row] for row in matrix.tolist()],
        }
        return Finding(
            code=self.code, grade=grade, component=component, cause=cause, cure=cure, place=place, evidence=evidence,
            sentence=said.format(named=place.name, others=count - 1, **numbers),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_Torn, loss=_torn_loss), tiny(model=_Normed, loss=_torn_loss)


def _place(outer: Mixing, inner: Mixing) -> Place:
    """The user's line, and the innermost module with the function that it calls."""
    place = inner.event.place
    around = outer.event.module
    if inner.event.module is not None:
        place = of_module(inner.event.name, inner.event.module)
    if not place.file and around is not None:
        place = Place(place.name, of_module("", around).file, of_module("", around).line)
    if inner.event.module is not None or around is None:
        return place
    return Place(f"{place.name} in {of_module(outer.event.name, around).name}", place.file, place.line)


class _Torn(nn.Module):
    """Both halves of each picture go through one encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x[:, :, :4], x[:, :, 4:]])
        return self.head(self.encoder(both).view(len(x), -1))


class _Normed(_Torn):
    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([self.encoder(x[:, :, :4]), self.encoder(x[:, :, 4:])], dim=1)
        return self.head((features - features.mean(0)) / (features.std(0) + 1e-5))


def _torn_loss(model: nn.Module, batch: Any) -> Tensor:
    return nll_loss(log_softmax(model(batch[0]), dim=1), batch[1])
