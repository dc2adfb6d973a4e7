"""O401: who should move, and who does?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import torch

from selfsight.case import Case
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code
from selfsight.instruments.words import codes, thaws
from selfsight.observations.epochs import planned_epochs
from selfsight.observations.motion import Motion, drawn, watched
from selfsight.observations.nudge import depends
from selfsight.planted import Net, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class WhoMoves(Check):
    """Parameters, gradients and the optimizer's list are three lists that ought to be one.

    Detected: Over two dozen of the program's own steps each tensor is followed: is it trainable, does a gradient reach
    it, does an optimizer hold it, does a bit of it change? PROVEN, by identity, are weights with a gradient that no
    optimizer holds, an optimizer that holds tensors of another model, weights that lie in a list where nn.Module does
    not see them, weights that change the loss and get no gradient, a momentum twin that the optimizer moves, and
    unfreezing that does not happen in any planned epoch.
    Matters: Such weights stay as they were drawn, while the rest learns around them and the loss still falls a little.
    Cure: Build the optimizer last, over model.parameters(); use nn.ModuleList; keep no_grad to what is not trained.
    Blind: Weights that are loaded instead of drawn are believed to be left out on purpose, and only noted.
    """

    code = "O401"
    title = "Who should move, and who does?"

    def look(self, case: Case) -> Iterator[Finding]:
        motion = watched(case)
        if not +motion.graded:
            raise DoesNotApply("no gradient reaches any tensor in the program's own steps")
        yield from self._left_out(case, motion)
        yield from self._hidden(case, motion)
        yield from self._detached(case, motion)
        if motion.driven:
            place = of_code(case.program.optimizer)
            yield self._finding(
                Grade.PROVEN, "optimizer", "teacher-in-optimizer", sorted(motion.driven), place,
                "The optimizer changes {} of the momentum twin, which only ought to follow the student.",
                "Give the optimizer the student's parameters only.",
            )  # fmt: skip
        if case.has("between_epochs"):
            yield from self._frozen(case, motion)

    def _left_out(self, case: Case, motion: Motion) -> Iterator[Finding]:
        """Trainable, reached by gradients, held by no optimizer, never moved."""
        names = motion.idle(motion.parameters)
        if names and case.has("between_epochs"):
            joined = planned_epochs(case).joined
            names = [name for name in names if name not in joined]
        foreign = motion.foreign()
        place = of_code(case.program.optimizer)
        if names and foreign:
            yield self._finding(
                Grade.PROVEN, "optimizer", "stale-parameters", names, place,
                f"The optimizer holds {len(foreign)} tensors that are not the model's and get no gradient, while {{}} "
                "of the model get one and are in no optimizer.",
                "Build the optimizer after the last change to the model.",
            )  # fmt: skip
        elif names:
            grade = Grade.NOTE if motion.may_stay(names, drawn(case)) else Grade.PROVEN
            yield self._finding(
                grade, "optimizer", "not-in-optimizer", names, place,
                "{} can be trained and get gradients, but no optimizer holds them: they never move.",
                "Give the optimizer model.parameters(), or set requires_grad to False where they are to stay.",
            )  # fmt: skip
        elif foreign:
            yield self._finding(
                Grade.NOTE, "optimizer", "stale-parameters", foreign, place,
                "The optimizer holds {} that are not the model's and never get a gradient.",
                "Leave them out, unless another part of the training moves them.",
            )  # fmt: skip

    def _hidden(self, case: Case, motion: Motion) -> Iterator[Finding]:
        names = motion.idle(motion.hidden)
        if names:
            grade = Grade.PROVEN if drawn(case) & {*names} else Grade.NOTE
            yield self._finding(
                grade, "model", "hidden-parameters", names, of_code(case.program.model),
                "{} get gradients, but model.parameters() does not yield them: they lie where nn.Module does not look.",
                "Keep modules in nn.ModuleList or nn.ModuleDict, tensors in nn.Parameter.",
            )  # fmt: skip

    def _detached(self, case: Case, motion: Motion) -> Iterator[Finding]:
        """Trainable, held, never reached by a gradient, never moved, though the loss depends on them."""
        names = motion.cut_off()
        if names and depends(case, case.model(), names):
            grade = Grade.PROVEN if drawn(case) & {*names} else Grade.NOTE
            yield self._finding(
                grade, "model", "detached", names, of_code(case.program.loss),
                "The loss changes with {}, which the optimizer is to train, but no gradient ever reaches them.",
                "Look for no_grad, detach, .data or .item() between them and the loss.",
            )  # fmt: skip

    def _frozen(self, case: Case, motion: Motion) -> Iterator[Finding]:
        names = [name for name in motion.parameters if name not in motion.trainable | motion.teacher]
        if not names:
            return
        epochs = planned_epochs(case)
        late = sorted(epochs.thawed & epochs.outside)
        code = of_code(case.program.between_epochs) if case.program.between_epochs else Place()
        if late and epochs.complete:
            yield self._finding(
                Grade.PROVEN, "optimizer", "never-unfreezes", late, code,
                "{} are unfrozen in a later epoch, but the optimizer does not hold them even then.",
                "Give the optimizer all parameters at the start, or add_param_group when they are unfrozen.",
            )  # fmt: skip
        elif epochs.complete and not epochs.flagged and any(map(thaws, codes(case.program.between_epochs))):
            yield self._finding(
                Grade.PROVEN, "optimizer", "never-unfreezes", names, code,
                f"In {epochs.planned} planned epochs between_epochs, which is written to unfreeze, unfreezes nothing: "
                "{} stay frozen.",
                "Compare its condition with the planned epochs, counted from 0, and with the parameters' names.",
            )  # fmt: skip

    def _finding(
        self, grade: Grade, component: Component, cause: str, names: list[str], place: Place, sentence: str, cure: str
    ) -> Finding:
        what = f"{len(names)} tensor{'s' * (len(names) != 1)} ({_short(names)})"
        return Finding(
            code=self.code, grade=grade, component=component, cause=cause, cure=cure,
            sentence=sentence.format(what), place=Place(_shared(names), place.file, place.line),
            evidence={"tensors": len(names), "names": ", ".join(names[:20])},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(optimizer=lambda net: torch.optim.Adam(net.encoder.parameters(), 3e-3)), tiny(model=_Probe)


class _Probe(Net):
    """A frozen encoder, and an optimizer over all."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder.requires_grad_(False)


def _shared(names: list[str]) -> str:
    """The module that all of them are in, or the first one's name."""
    parts = [re.findall(r"\.?[^.\[]+|\[[^]]*\]", name) for name in names]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
    return "".join(words[0] for words in alike) or names[0]


def _short(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
