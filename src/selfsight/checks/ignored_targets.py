"""L307: does the loss read the answers?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.instruments.snapshot import same, still
from selfsight.observations.outside import outside
from selfsight.planted import tiny
from selfsight.program import Program

STEPS = 3
"""Steps of the program's own after which it is asked again, so that a term that is silent at first may speak."""


@dataclass(frozen=True)
class IgnoredTargets(Check):
    """Whatever of a batch is not shown to the net should matter to the loss.

    Detected: All parts of the batch that never enter the model are replaced by another batch's. PROVEN where the loss
    and every gradient stay equal to the last bit, before and after some steps, and no answer is better than one
    constant answer: then nothing in this loss asks for anything.
    Matters: The loss falls to its floor within a few steps and the net has learned to say one thing.
    Cure: Give the criterion the batch's targets.
    Blind: Losses that find their targets in the inputs or draw them (autoencoders, contrastive pairs, rotations) may
    ignore labels that come along, and stay unasked; so do programs of two views.
    """

    code = "L307"
    title = "Does the loss read the answers?"

    def look(self, case: Case) -> Iterator[Finding]:
        if case.has("views"):
            raise DoesNotApply("two views are each other's answers")
        answers = outside(case)
        if not answers:
            raise DoesNotApply("every part of a batch that varies enters the model")
        shown = [leaf.shape for path, leaf in leaves(case.batch).items() if path not in answers]
        if len(shown) > len(set(shown)):
            raise DoesNotApply("inputs of one shape may be each other's answers")
        if not self._ignored(case, answers):
            return
        scale = case.scale
        if isinstance(scale, Unreachable) or scale.wide:
            return
        names = ", ".join(path or "the batch" for path in answers)
        yield Finding(
            code=self.code, grade=Grade.PROVEN, component="loss", cause="ignores-targets",
            sentence=f"With another batch's {names}, which the model is never shown, the loss is {scale.start:.6g} as "
            "before and no gradient differs in any bit: nothing reads it.",
            cure="Give the criterion the batch's targets.", place=of_code(case.program.loss, "loss"),
            evidence={"loss": scale.start, "ignored": names},
        )  # fmt: skip

    def _ignored(self, case: Case, answers: Mapping[str, Tensor]) -> bool:
        trial = case.begin()
        for step in (0, STEPS):
            for _ in range(step):
                case.step(trial, case.batch)
            if not _alike(_told(case, trial.model, case.batch), _told(case, trial.model, rebuilt(case.batch, answers))):
                return False
        return True

    def planted(self) -> tuple[Program, Program]:
        def own_answer(model: nn.Module, batch: Any) -> Tensor:
            said = model(batch[0])
            return cross_entropy(said, said.argmax(1))

        def itself(model: Any, batch: Any) -> Tensor:
            return (model.back(model(batch[0])) - batch[0].flatten(1)).square().mean()

        return tiny(loss=own_answer), tiny(loss=itself, model=_Coder)


class _Coder(nn.Sequential):
    """An autoencoder, which has no use for labels."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 4))
        self.back = nn.Linear(4, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self[1](self[0](x))


def _told(case: Case, model: nn.Module, batch: Any) -> list[Tensor]:
    """The loss and every gradient."""
    with still(model):
        loss = case.loss(model, batch)
        wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
        given = torch.autograd.grad(loss, wanted, allow_unused=True) if loss.requires_grad else ()
    return [loss.detach(), *(gradient for gradient in given if gradient is not None)]


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(same, one, other))
