"""T502: is it another batch each time, and the same model?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from selfsight.case import KEPT, Case
from selfsight.check import Check, Finding, Grade
from selfsight.instruments.nest import leaves, rows
from selfsight.instruments.place import of_code
from selfsight.instruments.snapshot import same
from selfsight.observations.forgetting import forgotten
from selfsight.observations.heeding import FEW, deaf
from selfsight.observations.motion import Motion, watched
from selfsight.observations.reads import data_behind, read
from selfsight.planted import batches, loss, tiny
from selfsight.program import Program

MOST = 0.5
"""Of what was trained: a small part, an online probe for one, may be begun anew on purpose."""


@dataclass(frozen=True)
class SameBatch(Check):
    """Training wants many batches and one model; now and then it gets one batch, or many models.

    Detected: PROVEN where all batches are the same bit for bit, or read the same items, although the data holds more;
    where the step, given batches that differ, shows the model the same tensors and leaves the same weights; and where
    an end of an epoch leaves the same weights whatever the epoch has learned (after two epochs, or called twice from
    different weights with the same draws), or parameters that no optimizer holds.
    Matters: One batch is learned by heart; a model that is made anew each epoch never gets beyond the first.
    Cure: Iterate over the loader in the loop; build and load the model once, before it.
    Blind: One batch for ever where the size of the data is not known; then it may be all there is.
    """

    code = "T502"
    title = "Is it another batch each time, and the same model?"

    def look(self, case: Case) -> Iterator[Finding]:
        program, anew = case.program, "next(iter(loader)) begins anew each time."
        if _one_batch(case):
            said = f"All {len(case.batches)} batches of a pass hold the same examples, though there are more."
            yield self._finding(case, "one-batch-forever", said, f"Iterate over the loader: {anew}", program.batches)
        elif deaf(case):
            said = (
                f"Given {FEW} batches that differ, the step shows the model the same tensors and leaves the same "
                "weights: it does not use the batch it is given."
            )
            code = program.step or program.loss
            yield self._finding(case, "one-batch-forever", said, f"Use the batch that is handed in; {anew}", code)
        if case.has("between_epochs"):
            yield from self._rebuilt(case, watched(case))

    def _rebuilt(self, case: Case, motion: Motion) -> Iterator[Finding]:
        cure, code = "Build the model, and load its weights, once before the loop.", case.program.between_epochs
        lost = sorted(set[str]().union(*(end.replaced for end in motion.ends)) & motion.held)
        if lost:
            said = (
                f"The end of an epoch puts new tensors in the place of {len(lost)} parameters ({lost[0]}, ...); the "
                "optimizer still holds the old ones."
            )
            yield self._finding(case, "model-rebuilt", said, cure, code, lost[0])
            return
        if len(motion.ends) < 2:
            return
        one, other = motion.ends
        trained = [name for name in motion.parameters if name in motion.held]
        learned = [name for name in trained if not same(one.before[name], other.before[name])]
        undone = [name for name in learned if same(one.after[name], other.after[name])]
        alike = _share(undone, learned, one.after)
        anew = sorted(forgotten(case) & set(trained)) if alike <= MOST else []
        if _share(anew, trained, one.after) > MOST:
            said = (
                f"Called from other weights with the same draws, the end of an epoch leaves the same bits in "
                f"{len(anew)} of {len(trained)} trained tensors ({anew[0]}, ...): what it has learned is thrown away."
            )
            yield self._finding(case, "model-rebuilt", said, cure, code, anew[0])
        elif undone:
            said = (
                f"After each of two epochs {len(undone)} of {len(learned)} trained tensors ({undone[0]}, ...) hold the "
                "same bits: what the epoch has learned is thrown away."
            )
            grade = Grade.PROVEN if alike > MOST else Grade.NOTE
            yield self._finding(case, "model-rebuilt", said, cure, code, undone[0], grade)

    def _finding(
        self,
        case: Case,
        cause: str,
        sentence: str,
        cure: str,
        code: Any,
        name: str = "",
        grade: Grade = Grade.PROVEN,
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="loop", cause=cause, sentence=sentence, cure=cure,
            place=of_code(code, name), evidence={"batches": len(case.batches)},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        loader = batches()

        def first_only(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
            torch.manual_seed(0)
            optimizer.zero_grad()
            loss(model, next(iter(loader))).backward()
            optimizer.step()

        return tiny(step=first_only), tiny()


def _share(some: list[str], every: list[str], values: Mapping[str, Tensor]) -> float:
    """The share of the numbers of all these tensors that lies in some of them."""
    return sum(values[name].numel() for name in some) / max(1, sum(values[name].numel() for name in every))


def _one_batch(case: Case) -> bool:
    """Every kept batch of two passes is the same, or is made of the same items, and the data is known to hold more."""
    count, data = rows(case.batches[0]), data_behind(case)
    if len(case.batches) < FEW or count is None or data is None or not hasattr(data, "__len__") or len(data) <= count:
        return False
    if all(_equal(case.batches[0], batch) for batch in [*case.batches[1:], *case.passed(KEPT, seed=1)]):
        return True
    items = read(case, data, KEPT)
    return len(items) >= FEW and 0 < len(items[0]) < len(data) and all(other == items[0] for other in items[1:])


def _equal(one: Any, other: Any) -> bool:
    these, those = leaves(one), leaves(other)
    return bool(these) and these.keys() == those.keys() and all(same(these[path], those[path]) for path in these)
