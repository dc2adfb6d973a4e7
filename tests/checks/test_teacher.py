"""The momentum twin: every cause fires on the mistake as people write it, and healthy oddities stay silent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from moving import adam, alarms
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from selfsight.planted import tiny
from selfsight.program import Program

# ---------------------------------------------------------------------------------------------------- E601: the twin


class Student(nn.Module):
    """BYOL in small: a student, a predictor, and a twin of the student."""

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        self.predictor = nn.Linear(8, 8)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.momentum, self.done = momentum, 0

    def follow(self, only: str = "") -> None:
        self.done += 1
        with torch.no_grad():
            for (name, slow), fast in zip(self.target.named_parameters(), self.online.parameters(), strict=True):
                if only in name:
                    slow.mul_(self.momentum).add_(fast, alpha=1 - self.momentum)


class Alias(Student):
    def __init__(self) -> None:
        super().__init__()
        self.target = self.online
        self.online.requires_grad_(True)


class FrozenBody(Student):
    """The student's first layer stays, so that the twin's stays too."""

    def __init__(self) -> None:
        super().__init__()
        self.online[1].requires_grad_(False)


class OtherTeacher(Student):
    """A trained teacher, of the same build, that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.target = copy.deepcopy(Student().online).requires_grad_(False)


def similarity(model: Any, batch: Any, gradient: bool = False) -> Tensor:
    x = batch[0]
    one, other = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
    with torch.set_grad_enabled(gradient):
        wanted = model.target(other)
    return 1 - torch.cosine_similarity(model.predictor(model.online(one)), wanted).mean()


def byol(model: Any = Student, follow: Any = Student.follow, gradient: bool = False, **more: Any) -> Program:
    def step(net: Any, optimizer: Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        similarity(net, batch, gradient).backward()
        optimizer.step()
        follow(net)

    return tiny(
        model=model, loss=lambda net, batch: similarity(net, batch, gradient), step=step,
        teacher=lambda net: net.target, **more,
    )  # fmt: skip


def everything(net: nn.Module) -> Optimizer:
    return Adam(net.requires_grad_(True).parameters(), 3e-3)


def summed(net: Any) -> None:
    """An average without its second weight."""
    with torch.no_grad():
        for mine, other in zip(net.target.parameters(), net.online.parameters(), strict=True):
            mine.mul_(0.9).add_(other)


def fading(net: Any) -> None:
    net.momentum = min(1.0, 0.9 + 0.1 * net.done / 6)
    net.follow()


@pytest.mark.parametrize(
    ("program", "causes"),
    [
        (byol(Alias), {("teacher", "teacher-is-student")}),
        (byol(follow=lambda net: None), {("teacher", "teacher-never-moves")}),
        (byol(follow=fading), {("teacher", "teacher-never-moves")}),
        (byol(follow=lambda net: net.follow("weight")), {("teacher", "teacher-partly-moves")}),
        (byol(follow=lambda net: net.follow("4")), {("teacher", "teacher-partly-moves")}),
        (byol(lambda: Student(1.2)), {("teacher", "teacher-runs-away")}),
        (byol(follow=summed), {("teacher", "teacher-runs-away")}),
        (byol(gradient=True, optimizer=everything), {("teacher", "teacher-gets-gradient"), ("optimizer", "teacher-in-optimizer")}),
    ],
)  # fmt: skip
def test_twins_that_do_not_follow(program: Program, causes: set[tuple[str, str]]) -> None:
    assert set(alarms(program)) == causes


def at_the_end(model: Any, optimizer: Optimizer, epoch: int) -> None:
    model.target.load_state_dict(model.online.state_dict())


def every_tenth(net: Any) -> None:
    net.done += 1
    if net.done % 10 == 0:
        net.target.load_state_dict(net.online.state_dict())


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(byol(), id="follows"),
        pytest.param(byol(optimizer=adam), id="in the optimizer, frozen"),
        pytest.param(byol(FrozenBody), id="frozen body"),
        pytest.param(byol(lambda: Student(0.9999)), id="slow"),
        pytest.param(byol(lambda: Student(0.0)), id="copies"),
        pytest.param(byol(OtherTeacher, follow=lambda net: None), id="a trained teacher"),
        pytest.param(byol(follow=every_tenth), id="every tenth step"),
        pytest.param(byol(follow=lambda net: None, between_epochs=at_the_end), id="at the end of epochs"),
    ],
)  # fmt: skip
def test_twins_that_follow(program: Program) -> None:
    assert alarms(program) == []
