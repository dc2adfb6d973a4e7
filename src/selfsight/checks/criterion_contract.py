"""L302: does torch's own criterion get what it expects?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsight.case import Case
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.functions import CRITERIA, Used, argument, noting
from selfsight.planted import tiny
from selfsight.program import Program

CLOSE = 1e-4
"""How near to 1 probabilities have to sum; a thousand float32 numbers are off by less."""
ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
Broken = tuple[Component, str, str, str]
"""(component, cause, what is wrong, cure)."""


@dataclass(frozen=True)
class CriterionContract(Check):
    """torch's losses accept what they were not made for, and answer with a number.

    Detected: Each of torch's criteria that the loss calls is held against its documentation: cross-entropy must not get
    rows that are probabilities, kl_div and nll_loss must get logarithms, BCE targets lie in 0 to 1, and outputs and
    targets of MSE, L1, Huber and BCE have one shape, not two that broadcast. PROVEN by the values themselves.
    Matters: (N, 1) against (N,) compares every output with every target, and the best answer is their mean.
    Cure: Hand over what the criterion's page in torch's documentation says.
    Blind: Criteria written by hand, and any that is computed outside Program.loss.
    """

    code = "L302"
    title = "Does torch's own criterion get what it expects?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        with noting(CRITERIA) as used:
            case.loss(model, case.batches[0])
        if not used:
            raise DoesNotApply("the loss calls none of torch's criteria")
        for call in used:
            given, target = argument(call, 0, "input"), argument(call, 1, "target")
            if not isinstance(given, Tensor) or not isinstance(target, Tensor):
                continue
            broken = _broken(call, given.detach(), target.detach())
            if broken:
                component, cause, wrong, cure = broken
                yield Finding(
                    code=self.code, grade=Grade.PROVEN, component=component, cause=cause, cure=cure, place=call.place,
                    sentence=f"{call.name} was given {wrong}.",
                    evidence={"outputs": str(tuple(given.shape)), "targets": str(tuple(target.shape))},
                )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def twice(model: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(model(batch[0]).softmax(1), batch[1])

        return tiny(loss=twice), tiny()


def _broken(call: Used, given: Tensor, target: Tensor) -> Broken | None:
    """What is wrong with one call; None where it is as documented."""
    if call.name in ELEMENTWISE and given.shape != target.shape:
        wrong = f"outputs of shape {tuple(given.shape)} and targets of shape {tuple(target.shape)}, which broadcast"
        return "loss", "target-shape", wrong, "Give both one shape, with squeeze(1) or unsqueeze(1)."
    if call.name in ("binary_cross_entropy", "binary_cross_entropy_with_logits") and _outside(target):
        wrong = f"targets from {float(target.min()):g} to {float(target.max()):g}, where 0 to 1 is meant"
        return "loss", "wrong-loss", wrong, "Class numbers want cross_entropy with one output per class."
    if call.name == "cross_entropy" and _probabilities(given):
        wrong = "probabilities (each row sums to 1) where it takes logits and applies softmax itself"
        return "loss", "loss-activation-mismatch", wrong, "Leave the softmax out."
    if call.name in ("kl_div", "nll_loss") and bool((given > CLOSE).any()):
        wrong = f"values up to {float(given.max()):.3g} where it takes logarithms of probabilities, none above 0"
        return "loss", "log-missing", wrong, "Give it log_softmax, not softmax."
    return None


def _outside(target: Tensor) -> bool:
    return bool(((target < 0) | (target > 1)).any())


def _probabilities(given: Tensor) -> bool:
    """Whether every row along dimension 1 is non-negative and sums to one: chance does not do that."""
    if given.ndim < 2 or given.shape[1] < 2 or not len(given):
        return False
    return bool((given >= 0).all()) and bool(torch.allclose(given.sum(1), given.new_ones(()), atol=CLOSE))
