"""B802: which component, when it is swapped out, lets the batch be fitted?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import steadily_falling
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.planted import Net, tiny
from selfsight.program import Program
from selfsight.swap import STUCK, Swap, Untried, own, table

CURES = {
    "loop": "Compare the training step line by line with zero_grad, loss, backward, step.",
    "optimizer": "Compare the optimizer with Adam at 1e-3 over model.parameters(): its rate first, then what it holds.",
    "loss": "Look at what lies between the last layer and the loss: activation, normalisation, shapes, signs.",
    "data": "Draw what enters the network: the examples may be alike, empty or all of one scale.",
    "model": "Look at what forward does with its input, from the first module whose output does not depend on it.",
}


@dataclass(frozen=True)
class SwappedComponent(Check):
    """Bisection: the smallest swap that restores the fit is the cause.

    Detected: Only where the program is stuck on two frozen batches (progress below 0.25). One component after another
    is replaced: the loop and the optimizer by a plain step with Adam, the last activation by none, the inputs by noise,
    the loss by a textbook one, the network by two plain layers. MEASURED where a swap restores progress to 0.9 on both.
    Matters: It says in a minute which part to read, and that the rest is not to blame.
    Cure: Read the named part; the other findings may name the line.
    Blind: Faults that leave a frozen batch fittable, and faults in two components at once where no single swap helps.
    """

    code = "B802"
    title = "Which component, swapped out, lets it learn?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            start = own(case)
        except (Untried, Unreachable) as why:
            raise DoesNotApply(str(why)) from why
        if max(fit.best for fit in start.fits) >= STUCK:
            return
        rows = table(case)
        cause = next((row for row in rows if row.restored), None)
        evidence: dict[str, float | int | str | list[float]] = {row.what: round(row.progress, 3) for row in rows}
        if cause is None or cause.component is None:
            yield self._finding(
                Grade.NOTE, "model", "unknown", evidence, case,
                "It is stuck on frozen batches, and no single swap restores it: I do not know why. "
                "More than one thing may be wrong.",
                "Mend what the other findings name, then ask again.",
            )  # fmt: skip
        elif cause.component == "optimizer" and _slow(case, start):
            yield self._finding(
                Grade.NOTE, "optimizer", "rate-small", evidence, case,
                f"It moves downhill steadily but slowly: {start.progress:.3f} after {start.fits[0].steps} steps.",
                "Fine where many thousand steps are planned; else raise the rate.",
            )  # fmt: skip
        else:
            yield self._finding(
                Grade.MEASURED, cause.component, cause.cause or f"{cause.component}-at-fault", evidence, case,
                f"With {cause.what} in its place, two frozen batches are fitted (progress {cause.progress:.2f}); as it "
                f"is, they stay at {start.progress:.2f}: the cause is in the {cause.component}.",
                CURES[cause.component],
            )  # fmt: skip

    def _finding(
        self, grade: Grade, component: Component, cause: str, evidence: dict[str, float | int | str | list[float]],
        case: Case, sentence: str, cure: str,
    ) -> Finding:  # fmt: skip
        member = {"loop": case.program.step, "optimizer": case.program.optimizer, "loss": case.program.loss}
        code = member.get(component) or (case.program.model if component == "model" else case.program.batches)
        return Finding(
            code=self.code, grade=grade, component=component, cause=cause, sentence=sentence, cure=cure,
            place=of_code(code, component), evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        class Blindfold(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(torch.zeros_like(x))

        return tiny(model=Blindfold), tiny()


def _slow(case: Case, start: Swap) -> bool:
    """Whether the program's own steps go down steadily, so that more of them may do, unless it plans too few."""
    falling = all(steadily_falling(fit.losses) for fit in start.fits)
    planned = case.program.planned_steps
    if not falling or planned is None:
        return falling
    fit = min(start.fits, key=lambda fit: fit.best)
    return (fit.best - fit.progress[0]) / max(1, fit.steps) * planned * 10 > STUCK
