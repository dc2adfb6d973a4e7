"""T501: does each step use its own gradient, and is a step made at all?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.observations.motion import Motion, watched
from selfsight.planted import loss, tiny
from selfsight.program import Program

ENOUGH = 10
"""Steps in a row that have to use an old gradient. Accumulation clears it in between, however many batches it takes."""


@dataclass(frozen=True)
class GradientAccounting(Check):
    """zero_grad, backward, step: each is one line that can be missing or stand in the wrong place.

    Detected: The order in which gradients arrive and optimizers step is recorded over two dozen own steps. PROVEN where
    the gradient of a weight is never cleared: each step still holds what all steps before it have used. PROVEN where
    the optimizer always finds its gradients empty, because it steps before backward or after they were cleared, and
    where backward runs and no optimizer ever steps, as long as no weight moves.
    Matters: Without clearing, the step is the sum of the past and overshoots; without a step, nothing is learned.
    Cure: optimizer.zero_grad(), loss.backward(), optimizer.step(), in this order.
    Blind: Gradients that are computed and written by hand, and optimizers that are not torch's.
    """

    code = "T501"
    title = "Does each step use its own gradient?"

    def look(self, case: Case) -> Iterator[Finding]:
        motion = watched(case)
        if not motion.touched:
            raise DoesNotApply("no gradient is added to any tensor in the program's own steps")
        kept = _never_cleared(motion)
        stepped = sum(bool(moment.rates) for moment in motion.moments)
        made, order = len(motion.moments), "optimizer.zero_grad(), loss.backward(), optimizer.step()"
        if kept:
            said = (
                f"In {made} own steps the gradient of {len(kept)} tensors ({kept[0]}, ...) is never cleared: each step "
                "uses the sum of all gradients so far."
            )
            cure = "Call optimizer.zero_grad() once per step, before backward."
            yield self._finding(case, "no-zero-grad", said, cure, motion, kept[0])
        elif motion.moved or not +motion.graded:
            return
        elif not stepped:
            said = f"In {made} own steps backward runs, but no optimizer ever steps, and no weight changes."
            yield self._finding(case, "no-step", said, "Call optimizer.step() after backward.", motion)
        elif all(moment.empty == len(moment.rates) for moment in motion.moments) and _own_gradients(motion):
            first = [moment.order[0] for moment in motion.moments if len(moment.order) > 1]
            early = first.count("step") > len(first) / 2
            why = "it steps before backward runs" if early else "they were cleared after backward"
            said = f"In all {stepped} steps of the optimizer its gradients are empty: {why}."
            cause = "step-before-backward" if early else "no-step"
            yield self._finding(case, cause, said, f"Keep the order: {order}.", motion)

    def _finding(self, case: Case, cause: str, sentence: str, cure: str, motion: Motion, name: str = "") -> Finding:
        steps = sum(bool(moment.rates) for moment in motion.moments)
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="loop", cause=cause, sentence=sentence, cure=cure,
            place=of_code(case.program.step or case.program.loss, name or "step"),
            evidence={"own_steps": len(motion.moments), "optimizer_steps": steps},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def piling(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
            loss(model, batch).backward()
            optimizer.step()

        seen = Counter[int]()

        def accumulating(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
            (loss(model, batch) / 4).backward()
            seen[id(optimizer)] += 1
            if seen[id(optimizer)] % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()

        return tiny(step=piling), tiny(step=accumulating)


def _never_cleared(motion: Motion) -> list[str]:
    """Tensors that began with an empty gradient once, and moved in at least ten steps that still held old ones."""
    used = Counter(name for moment in motion.moments for name in moment.kept & moment.moved)
    return [name for name in motion.first if used[name] >= ENOUGH and motion.cleared[name] <= 1]


def _own_gradients(motion: Motion) -> bool:
    """Whether gradients reach tensors that the optimizer holds."""
    return any(motion.graded[name] for name in motion.held)
