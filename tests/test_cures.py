"""The cure tried: what is put in the place of the cause, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from selfsight.case import examining
from selfsight.checks import CHECKS
from selfsight.diagnosis import Repair
from selfsight.doctor.repair import repaired
from selfsight.instruments.functions import uncut
from selfsight.planted import Net, Quarters, batches, tiny
from selfsight.program import Program


def reinitialised(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
    torch.manual_seed(0)
    model.load_state_dict(Net().state_dict())


class Cut(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.encoder(x)
        return self.head(h)


class Listed(Net):
    """Its encoder's layers lie in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [*self.encoder]
        self.encoder = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Sorted(Quarters):
    def __init__(self) -> None:
        super().__init__(192)
        order = self.labels.argsort(stable=True)
        self.pictures, self.labels = self.pictures[order], self.labels[order]


class Short(Quarters):
    """Says that it is a third as long as it is."""

    def __len__(self) -> int:
        return len(self.labels) // 3

    def __getitem__(self, i: int) -> Any:
        return self.pictures[i], self.labels[i]


class Cached(Quarters):
    """Keeps what it has drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[int, Any] = {}

    def __getitem__(self, i: int) -> Any:
        if i not in self.memory:
            picture, label = super().__getitem__(i)
            self.memory[i] = picture + 0.1 * torch.randn(picture.shape), label
        return self.memory[i]


def over(data: Any) -> Program:
    return tiny(dataset=data, batches=lambda: DataLoader(data, batch_size=16, shuffle=not isinstance(data, Sorted)))


def rebuilt(model: nn.Module, batch: Any) -> Tensor:
    """A loss whose numbers come from a list."""
    logits = torch.tensor(model(batch[0]).tolist(), requires_grad=True)
    return cross_entropy(logits, batch[1])


def cured(program: Program, code: str) -> Repair:
    """The cure tried after one check has spoken."""
    check = next(check for check in CHECKS if check.code == code)
    with examining(program) as case:
        repair = repaired(case, check.ask(case), [check], 60.0)
    assert repair is not None
    return repair


BETTER = (
    (tiny(model=Listed), "O401", "model", "hidden"),
    (tiny(between_epochs=reinitialised), "T502", "loop", "a plain loop"),
)
SILENT = (
    (tiny(model=Cut), "O401", "model", "no_grad"),
    (over(Sorted()), "D105", "data", "dealt at random"),
    (over(Short()), "D101", "data", "counted"),
    (over(Cached()), "D103", "data", "read anew"),
    (tiny(loss=rebuilt, predict=lambda net, batch: net(batch[0]), criterion=lambda said, batch: said.sum()), "L304",
     "loss", "a textbook loss"),
)  # fmt: skip


@pytest.mark.parametrize(("program", "code", "component", "swapped"), BETTER + SILENT)
def test_the_cause_is_swapped_out_and_the_check_asked_again(
    program: Program, code: str, component: str, swapped: str
) -> None:
    repair = cured(program, code)
    assert (repair.component, repair.on) == (component, "a short training")
    assert swapped in repair.swapped
    assert repair.silent
    assert repair.restored
    if (program, code, component, swapped) in BETTER:
        assert repair.better
        assert repair.after > repair.before + 0.1


def test_a_frozen_batch_that_could_not_be_fitted_is_fitted() -> None:
    repair = cured(tiny(optimizer=lambda net: torch.optim.Adam(net.head[2:].parameters(), 3e-3)), "O401")
    assert (repair.component, repair.on) == ("optimizer", "frozen batches")
    assert repair.better
    assert repair.after >= 0.9 > repair.before


def test_a_rate_that_a_check_tried_itself_is_not_tried_again() -> None:
    steep = tiny(optimizer=lambda net: torch.optim.SGD(net.parameters(), 100.0), batches=lambda: batches(Quarters(192)))
    repair = cured(steep, "B803")
    assert (repair.on, repair.better) == ("the check's own trainings", True)
    assert repair.after > 0.5


def test_what_could_be_learned_before_is_no_cure() -> None:
    told = {"component": "model", "swapped": "another one", "on": "a short training", "before": 0.9, "after": 0.95}
    assert not Repair(**told, better=False).restored
    assert "not enough by itself" in Repair(**told, better=False).said
    assert Repair(**told, better=False, silent=True).restored


def test_a_cut_gradient_is_let_through_and_no_longer() -> None:
    weight = torch.ones((), requires_grad=True)

    def cut() -> Tensor:
        with torch.no_grad():
            kept = 2 * weight
        return kept + 3 * weight.detach()

    with uncut():
        (gradient,) = torch.autograd.grad(cut(), weight)
    assert float(gradient) == 5
    assert not cut().requires_grad
