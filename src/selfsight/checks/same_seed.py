"""B805: does the same seed give the same training?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, Finding, Grade
from selfsight.instruments.snapshot import same
from selfsight.planted import tiny
from selfsight.program import Program

STEPS = 5


@dataclass(frozen=True)
class SameSeed(Check):
    """A training that cannot be repeated cannot be compared.

    Detected: With every seed set alike, five steps are made twice on the same batches. A NOTE names the first parameter
    whose bits differ.
    Matters: Two runs that differ by chance hide what a change did; and a bug that comes and goes cannot be found.
    Cure: Draw from torch's, NumPy's or Python's generators, seeded; or from one that is passed in.
    Blind: What differs only on several devices, or from one process to the next.
    """

    code = "B805"
    title = "Does the same seed give the same training?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        first, second = self._trained(case), self._trained(case)
        for name in first:
            if not same(first[name], second.get(name)):
                yield Finding(
                    code=self.code, grade=Grade.NOTE, component="loop", cause="not-repeatable",
                    sentence=f"The same seed gave two different trainings: {name} differs after {STEPS} steps.",
                    cure="Draw every random number from a seeded generator.",
                    evidence={"largest difference": float((first[name] - second[name]).abs().max())},
                )  # fmt: skip
                return

    def _trained(self, case: Case) -> dict[str, Tensor]:
        trial = case.begin()
        for number, batch in enumerate(case.batches[:STEPS]):
            case.step(trial, batch, number)
        return {name: value.detach().clone().float() for name, value in trial.model.named_parameters()}

    def planted(self) -> tuple[Program, Program]:
        own = torch.Generator().manual_seed(3)

        def unseeded(model: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(model(batch[0] + torch.randn(batch[0].shape, generator=own)), batch[1])

        return tiny(loss=unseeded), tiny()
