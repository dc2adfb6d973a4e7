"""B801: can the program fit one frozen batch?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.fit import FITTED
from selfsight.instruments.reach import Unreachable
from selfsight.planted import Net, tiny
from selfsight.program import Program
from selfsight.swap import STUCK, Untried, own


@dataclass(frozen=True)
class FrozenBatch(Check):
    """The oldest advice there is, with tensors frozen instead of indices.

    Detected: Eight examples are kept as tensors and every random draw is replayed; the program makes up to 200 of its
    own steps on them, and on eight others. Progress is told between the best constant answer (0) and the best answer of
    all (1). A NOTE where less than 0.25 is reached; what is to blame is for B802 to find.
    Matters: What cannot fit eight examples that never change will not learn from millions.
    Cure: See B802, which swaps one component after another.
    Blind: A fitted batch says nothing of labels that are wrong, views that do not belong together, or what comes of
    more data.
    """

    code = "B801"
    title = "Can it fit one frozen batch?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            row = own(case)
        except (Untried, Unreachable) as why:
            raise DoesNotApply(str(why)) from why
        if row.progress < STUCK:
            steps = max(fit.steps for fit in row.fits)
            yield Finding(
                code=self.code, grade=Grade.NOTE, component="model", cause="does-not-fit",
                sentence=f"After {steps} of its own steps on eight frozen examples, progress is {row.progress:.2f}: 0 "
                f"is the best constant answer, 1 the best of all, and {FITTED} is usual.",
                cure="Look at what the swaps say (B802); a rate meant for many thousand steps may also be the reason.",
                evidence={"progress": [round(value, 4) for value in row.fits[0].progress]},
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        class Blindfold(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(torch.zeros_like(x))

        return tiny(model=Blindfold), tiny()
