"""Y107: is there more than one answer?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.clock import Allowance
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Tail, Unreachable
from selfsight.observations.targets import answer_paths
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program

SECONDS = 5.0
"""How long a pass is read to see whether the answer ever changes."""


@dataclass(frozen=True)
class Targets(Check):
    """A question that always has the same answer teaches that answer, and the loss falls to its floor.

    Detected: PROVEN where the part of the batch that the loss takes as answers holds one value in a whole pass, and no
    outputs have a lower loss than the same output for all.
    Matters: A wrong column, a list of labels that was never filled, a loader that replaces what it cannot parse by 0:
    loss and accuracy look perfect.
    Cure: Print the answers of a few batches beside their pictures.
    Blind: Answers that vary but are wrong, passes that take longer than 5 s to read, answers that the model is given.
    Contrastive losses whose answer is always place 0 are left alone: there a constant output is no solution.
    """

    code = "Y107"
    title = "Is there more than one answer?"

    def look(self, case: Case) -> Iterator[Finding]:
        paths = answer_paths(case)
        if not paths:
            raise DoesNotApply("no part of the batch is an answer that only the loss sees")
        scale = case.scale
        if isinstance(scale, Unreachable):
            raise DoesNotApply(f"the best constant answer cannot be found: {scale}")
        fixed = [path for path in paths if _fixed([leaves(batch).get(path) for batch in case.batches])]
        if fixed and len(fixed) == len(paths) and not scale.wide and _one_answer(case.tail):
            count, ended = self._further(case, fixed)
            value = leaves(case.batches[0])[fixed[0]].flatten()[0].item()
            if count:
                sentence = (
                    f"All {count} answers in {'a whole pass' if ended else 'the part of a pass that was read'} are "
                    f"{value:g}: a constant output solves this task."
                )
                yield self._finding(case, Grade.PROVEN if ended else Grade.NOTE, sentence, count)

    def _further(self, case: Case, fixed: list[str]) -> tuple[int, bool]:
        """(how many answers were read, whether the pass ended); 0 where another answer turned up."""
        first = {path: leaves(case.batches[0])[path][:1] for path in fixed}

        def run() -> tuple[int, bool]:
            count, allowed = 0, Allowance(SECONDS)
            for batch in case.program.batches():
                found = leaves(batch)
                if any(path not in found or (found[path] != first[path]).any() for path in fixed):
                    return 0, False
                count += len(found[fixed[0]])
                if allowed.over:
                    return count, False
            return count, True

        return case.guarded("Program.batches", run)

    def _finding(self, case: Case, grade: Grade, sentence: str, count: int) -> Finding:
        scale = case.scale
        evidence: dict[str, float | int] = {"answers": count}
        if not isinstance(scale, Unreachable):
            evidence |= {"constant": scale.constant.loss, "free": scale.free.loss}
        place = of_code(type(case.program.dataset), "dataset") if case.has("dataset") else of_code(case.program.batches)
        return Finding(
            code=self.code, grade=grade, component="labels", cause="target-constant", sentence=sentence, place=place,
            cure="Look at the answers beside their pictures.", evidence=dict(evidence),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        data = Quarters()
        data.labels = data.labels * 0 + 1

        def first_of_three(model: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(model(batch[0]), batch[1])

        return tiny(batches=lambda: batches(data), loss=first_of_three), tiny()


def _one_answer(tail: Tail | Unreachable) -> bool:
    """Whether no module has the last word twice: a ranking of two of its answers is not settled by constants."""
    if isinstance(tail, Unreachable):
        return False
    modules = [slot.module for slot in tail.slots]
    return len(set(modules)) == len(modules)


def _fixed(parts: list[Tensor | None]) -> bool:
    """Whether every example's answer is the first one's."""
    first = parts[0]
    return first is not None and all(
        part is not None and part.shape[1:] == first.shape[1:] and bool((part == first[:1]).all()) for part in parts
    )
