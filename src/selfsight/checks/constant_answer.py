"""L308: after some training, is it any better than a constant answer?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import less_p
from selfsight.instruments.nest import rows
from selfsight.instruments.reach import Unreachable
from selfsight.instruments.tell import tells
from selfsight.planted import Net, Quarters, batches, tiny
from selfsight.program import Program
from selfsight.streaming import TooFew, streamed

USUAL = 0.05
"""A note needs no more than the usual level."""


@dataclass(frozen=True)
class ConstantAnswer(Check):
    """A network that answers .67 to everything has learned the share of the classes, and nothing else.

    Detected: A fresh model is trained for some seconds by the program's own steps on two thirds of the first batches.
    On the rest its loss is compared with that of the best constant answer, piece by piece (Wilcoxon). A NOTE where it
    is not better; where the loss sits at a known number (ln K, ln(2N - 1), ln 2), the note says what the number means.
    Matters: Falling loss is no proof of learning: the way down to the constant answer needs no input at all.
    Cure: Train longer; if it stays there, see what the other checks say.
    Blind: Losses whose best answer is a constant one; what takes more than some hundred steps to begin.
    """

    code = "L308"
    title = "After some training, is it better than a constant answer?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            seen = streamed(case)
        except (TooFew, Unreachable) as why:
            raise DoesNotApply(str(why)) from why
        losses, constant = seen.aside[seen.best], seen.constant_aside
        if less_p(losses, constant) < USUAL or math.isnan(seen.gained(seen.best)):
            return
        tail = case.tail
        widths = (
            {} if isinstance(tail, Unreachable) else {tensor.shape[-1] for tensor in tail.slots.values() if tensor.ndim}
        )
        last = fmean(seen.aside[-1])
        error = stdev(seen.aside[-1]) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
        known = tells(fmean(seen.learned[-2:]), rows(case.batches[0]), widths) or tells(last, None, widths, error)
        sits = f" The loss sits at {known[0]}." if known else ""
        yield Finding(
            code=self.code, grade=Grade.NOTE, component="model", cause="equals-constant",
            sentence=f"On examples it was not trained on the loss is {fmean(losses):.4g} at best; the best constant "
            f"answer has {fmean(constant):.4g}.{sits}",
            cure="Train longer; if it stays there, look at what else was found.",
            evidence={"loss": fmean(losses), "constant": fmean(constant), "least": seen.free},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def many() -> Any:
            return batches(Quarters(192))

        class Blindfold(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(torch.zeros_like(x))

        return tiny(model=Blindfold, batches=many), tiny(batches=many)
