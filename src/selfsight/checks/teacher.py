"""E601: does the momentum twin follow its student?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code, of_module
from selfsight.instruments.snapshot import same
from selfsight.instruments.twins import pairs, shared
from selfsight.observations.following import beyond, left_behind, stale_statistics, stopped, went
from selfsight.observations.motion import Motion, watched
from selfsight.planted import CLASSES, Net, tiny
from selfsight.program import Program

OUTSIDE = 1e-2
"""How far outside 0 to 1 a momentum has to lie: far more than float32 sums are off."""

MOST = 0.25
"""The share of the moved numbers that has to lie outside; a few may, where weights are renormalised."""


@dataclass(frozen=True)
class Teacher(Check):
    """A momentum twin is a copy that only ever moves towards its student.

    Detected: PROVEN are a twin whose tensors are the student's own memory; one that began as a copy and never moves in
    the program's own steps and ends of epochs; tensors of it that stay while others follow and their student's move;
    one that gets gradients and is moved by the optimizer; and a momentum outside 0 to 1, found by least squares from
    the weights before and after a step. NOTE where only some memory is shared, batch statistics do not follow, or
    gradients reach the twin and nobody uses them.
    Matters: A twin that is the student lets the loss be won by saying nothing; one that never moves teaches noise.
    Cure: copy.deepcopy at the start, no_grad around its forward, and twin = tau * twin + (1 - tau) * student in each
    step.
    Blind: A twin that is copied more rarely than some 200 steps; a teacher that did not begin as a copy, which may be
    meant to stay.
    """

    code = "E601"
    title = "Does the momentum twin follow its student?"
    needs = ("teacher",)

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        teacher = case.call("teacher", model)
        if not isinstance(teacher, nn.Module) or not any(True for _ in teacher.parameters()):
            raise DoesNotApply("Program.teacher gives no module with parameters")
        common = shared(model, teacher)
        if common:
            total = len(list(teacher.parameters()))
            yield self._finding(
                Grade.PROVEN if len(common) == total else Grade.NOTE, "teacher-is-student",
                of_code(case.program.model, common[0]),
                f"{len(common)} of the twin's {total} tensors ({common[0]}, ...) are the student's own memory.",
                "Make the twin with copy.deepcopy(student).", {"shared": len(common), "tensors": total},
            )  # fmt: skip
            if len(common) == total:
                return
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        couples = [(names.get(id(one)), names.get(id(other))) for one, other in pairs(model, teacher)]
        twins = {one: other for one, other in couples if one and other}
        motion = watched(case)
        yield from self._gradients(case, motion)
        yield from self._following(case, motion, twins)
        stale = stale_statistics(case)
        if stale and motion.moved:
            yield self._finding(
                Grade.NOTE, "teacher-partly-moves", of_module("", teacher),
                f"{stale} batch statistics of the twin do not change in a step: it normalises by those it began with.",
                "Copy buffers too, or run the twin in train mode.", {"buffers": stale},
            )  # fmt: skip

    def _gradients(self, case: Case, motion: Motion) -> Iterator[Finding]:
        names = sorted(name for name in motion.teacher if motion.graded[name])
        if names:
            moved = motion.driven & set(names)
            ends = "and the optimizer moves them" if moved else "and nobody uses them"
            yield self._finding(
                Grade.PROVEN if moved else Grade.NOTE, "teacher-gets-gradient", of_code(case.program.loss, names[0]),
                f"Gradients reach {len(names)} tensors of the twin ({names[0]}, ...), {ends}.",
                "Run the twin under torch.no_grad(), and detach what it says.",
                {"tensors": len(names), "moved": len(moved)},
            )  # fmt: skip

    def _following(self, case: Case, motion: Motion, twins: dict[str, str]) -> Iterator[Finding]:
        twins, made = {mine: other for mine, other in twins.items() if other in motion.moved}, len(motion.moments)
        place, planned = of_code(case.program.step or case.program.loss), case.program.planned_steps
        if not twins:
            return
        if not motion.moved & motion.teacher:
            copied = sum(same(motion.first[mine], motion.first[other]) for mine, other in twins.items())
            yield self._finding(
                Grade.PROVEN if copied > len(twins) / 2 else Grade.NOTE, "teacher-never-moves", place,
                f"In {made} own steps no bit of the twin changes, while its student moves.",
                "Call the momentum update in every step.", {"steps": made, "tensors": len(twins)},
            )  # fmt: skip
            return
        since = stopped(motion, twins)
        if since is not None and (planned is None or planned > 2 * made):
            yield self._finding(
                Grade.PROVEN, "teacher-never-moves", place,
                f"The twin follows for {since} steps, then stands still for {made - since} while its student moves on.",
                "Give the momentum schedule all planned steps, not those of an epoch.", {"follows": since},
            )  # fmt: skip
        way = went(motion, twins)
        outside = beyond(motion, twins)
        if way is not None and not -OUTSIDE <= way <= 1 + OUTSIDE:
            yield self._finding(
                Grade.PROVEN, "teacher-runs-away", place,
                f"In a step the twin goes {way:.3g} of the way to its student: a momentum of {1 - way:.3g}.",
                "Check the sign and the order of the two weights in the update.", {"momentum": 1 - way},
            )  # fmt: skip
        elif outside > MOST and not motion.driven:
            yield self._finding(
                Grade.PROVEN, "teacher-runs-away", place,
                f"A step puts {outside:.0%} of the twin's numbers outside of what it and its student were: that is no "
                "average of the two.",
                "Update by twin = tau * twin + (1 - tau) * student, and do nothing to it after.", {"outside": outside},
            )  # fmt: skip
        if way is None:
            return
        left = left_behind(motion, twins, way)
        if left:
            yield self._finding(
                Grade.PROVEN, "teacher-partly-moves", Place(left[0], place.file, place.line),
                f"{len(left)} of the twin's tensors ({', '.join(left[:3])}) never move, though others follow.",
                "Walk through all of parameters() in the momentum update.", {"left": len(left), "pairs": len(twins)},
            )  # fmt: skip

    def _finding(
        self, grade: Grade, cause: str, place: Place, sentence: str, cure: str, evidence: dict[str, float | int]
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="teacher", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def gives(model: nn.Module) -> nn.Module:
            assert isinstance(model.teacher, nn.Module)
            return model.teacher

        return tiny(model=_Alone, teacher=gives, loss=_loss), tiny(model=_Twin, teacher=gives, loss=_loss)


class _Alone(Net):
    """With a copy that is never updated."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.ModuleList([copy.deepcopy(self.encoder), nn.Identity()])
        self.teacher.requires_grad_(False)


class _Twin(_Alone):
    """With one that follows at each forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for mine, other in zip(self.teacher[0].parameters(), self.encoder.parameters(), strict=True):
                mine.mul_(0.9).add_(other, alpha=0.1)
        return super().forward(x)


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0])[:, :CLASSES], batch[1])
