"""What the tests of the checks of a program's own steps share."""

from __future__ import annotations

from typing import Any

from asking import found
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from selfsight.check import Check, Finding
from selfsight.checks.downhill import Downhill
from selfsight.checks.gradient_accounting import GradientAccounting
from selfsight.checks.same_batch import SameBatch
from selfsight.checks.step_landed import StepLanded
from selfsight.checks.step_size import StepSize
from selfsight.checks.teacher import Teacher
from selfsight.checks.term_balance import TermBalance
from selfsight.checks.who_moves import WhoMoves
from selfsight.planted import loss
from selfsight.program import Program

CHECKS: tuple[Check, ...] = (
    WhoMoves(), StepLanded(), StepSize(), GradientAccounting(), SameBatch(), Teacher(), Downhill(), TermBalance(),
)  # fmt: skip
QUICK = tuple(check for check in CHECKS if check.quick)


def asked(program: Program, *checks: Check) -> list[Finding]:
    """The findings of the checks that apply."""
    return [finding for check in checks for finding in found(check, program)]


def alarms(program: Program, *checks: Check) -> list[tuple[str, str]]:
    """(component, cause) of each alarm of the checks, all quick ones where none is named."""
    return [(finding.component, finding.cause) for finding in asked(program, *(checks or QUICK)) if finding.alarms]


def adam(net: nn.Module) -> Optimizer:
    return Adam(net.parameters(), 3e-3)


def plain(model: nn.Module, optimizer: Optimizer, batch: Any) -> Tensor:
    optimizer.zero_grad()
    value = loss(model, batch)
    value.backward()
    optimizer.step()
    return value
