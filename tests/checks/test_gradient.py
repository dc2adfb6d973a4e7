"""Does the loss's gradient lead downhill, term by term: every cause fires on the mistake as people write it, and healthy oddities stay silent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from moving import CHECKS, asked, plain
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.optim import Adam

from selfsight.check import Grade
from selfsight.checks.activation_twice import ActivationTwice
from selfsight.checks.downhill import Downhill
from selfsight.checks.term_balance import TermBalance
from selfsight.planted import Net, loss, tiny
from selfsight.program import Program

# --------------------------------------------------------------------------------------------- L304, L306: the gradient


def through_numpy(model: nn.Module, batch: Any) -> Tensor:
    logits = torch.tensor(model(batch[0]).detach().numpy(), requires_grad=True)
    return cross_entropy(logits, batch[1])


def no_graph(model: nn.Module, batch: Any) -> Tensor:
    return torch.tensor(float(loss(model, batch)))


@pytest.mark.parametrize("broken", [through_numpy, no_graph])
def test_cut_gradients(broken: Any) -> None:
    found = [finding for finding in asked(tiny(loss=broken), Downhill()) if finding.alarms]
    assert [(finding.grade, finding.cause) for finding in found] == [(Grade.PROVEN, "gradient-cut")]


class Rounded(Net):
    """Answers in hundredths."""

    def forward(self, x: Tensor) -> Tensor:
        return (100 * super().forward(x)).round() / 100


def nobody_learns(model: nn.Module, batch: Any) -> Tensor:
    with torch.no_grad():
        logits = model(batch[0])
    return cross_entropy(logits, batch[1])


@pytest.mark.parametrize(("program", "component"), [(tiny(model=Rounded), "model"), (tiny(loss=nobody_learns), "loss")])
def test_who_cuts_the_gradient(program: Program, component: str) -> None:
    found = [finding for finding in asked(program, Downhill()) if finding.alarms]
    assert [(finding.component, finding.cause) for finding in found] == [(component, "gradient-cut")]


class Squashed(Net):
    """A sigmoid at the end of forward, the criterion has another."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


class SquashedTwice(Squashed):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


def per_class(model: nn.Module, batch: Any) -> Tensor:
    return binary_cross_entropy(model(batch[0]), one_hot(batch[1], 3).float())


def per_class_with_logits(model: nn.Module, batch: Any) -> Tensor:
    return binary_cross_entropy_with_logits(model(batch[0]), one_hot(batch[1], 3).float())


@pytest.mark.parametrize(
    ("program", "component"),
    [(tiny(model=SquashedTwice, loss=per_class), "model"), (tiny(model=Squashed, loss=per_class_with_logits), "loss")],
)
def test_who_squashes_the_second_time(program: Program, component: str) -> None:
    found = [finding for finding in asked(program, ActivationTwice()) if finding.alarms]
    assert [(finding.component, finding.cause) for finding in found] == [(component, "activation-twice")]


class StraightThrough(Net):
    """The value is rounded, the gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(h + ((h * 2).round() / 2 - h).detach())


class Reversed(Net):
    """The encoder's gradient is turned around, as in adversarial adaptation."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(2 * h.detach() - h)


def constant(model: nn.Module, batch: Any) -> Tensor:
    """A hinge that rests at 0: no gradient, and nothing that changes with the weights."""
    return (loss(model, batch) - 1000).relu()


@pytest.mark.parametrize(
    "program",
    [tiny(model=StraightThrough), tiny(model=Reversed), tiny(loss=constant), tiny(loss=no_graph, step=plain)],
    ids=["straight-through", "reversed", "hinge at rest", "a step of its own"],
)
def test_gradients_that_are_meant(program: Program) -> None:
    assert [finding for finding in asked(program, Downhill(), TermBalance()) if finding.alarms] == []


def test_terms_are_only_noted() -> None:
    def three(model: nn.Module, batch: Any) -> Tensor:
        return loss(model, batch) + 0.5 * model(batch[0]).square().mean() - (model(batch[0]).mean() - 1000).relu()

    (finding,) = asked(tiny(loss=three), TermBalance())
    assert (finding.grade, finding.cause) == (Grade.NOTE, "inert")
    assert len(finding.evidence) == 3


@pytest.mark.parametrize("by", [torch.div, torch.mul])
def test_what_a_loss_is_multiplied_by_is_no_term(by: Any) -> None:
    def scaled(model: nn.Module, batch: Any) -> Tensor:
        unit = (0 * model(batch[0])).sum() + 2
        return by(loss(model, batch), unit)

    assert asked(tiny(loss=scaled), TermBalance()) == []


# ------------------------------------------------------------------------------------------------------- no trace left


def test_a_live_model_is_left_as_it_was() -> None:
    live = Net()
    optimizer = Adam(live.parameters(), 3e-3)
    before = copy.deepcopy(live.state_dict())
    found = asked(tiny(model=lambda: live, optimizer=lambda _: optimizer), *CHECKS)
    assert [finding for finding in found if finding.alarms] == []
    assert all(torch.equal(value, live.state_dict()[name]) for name, value in before.items())
    assert not optimizer.state
    assert all(not p._backward_hooks for p in live.parameters())
