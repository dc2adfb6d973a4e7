"""L301 and L311: what the last activation, and the temperature, let a loss become."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asking import alarming, found
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, cross_entropy, mse_loss, normalize
from torch.utils.data import DataLoader, TensorDataset

from selfsight.checks.answer_range import AnswerRange
from selfsight.checks.reachable_loss import ReachableLoss
from selfsight.checks.term_balance import TermBalance
from selfsight.planted import Net, batches, tiny
from selfsight.program import Program


def numbers(bend: Any, targets: Tensor) -> Program:
    """A regression to `targets` (96, K), its answers bent."""
    drawn = torch.Generator().manual_seed(2)
    pairs = TensorDataset(torch.randn(len(targets), 12, generator=drawn), targets)
    return tiny(
        batches=lambda: DataLoader(pairs, batch_size=16),
        model=lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, targets.shape[1])),
        loss=lambda net, batch: mse_loss(bend(net(batch[0])), batch[1]),
    )


def labels(bend: Any) -> Program:
    """Two labels of ten for each example, by binary cross-entropy."""
    drawn = torch.Generator().manual_seed(3)
    held = torch.stack([torch.randperm(10, generator=drawn) < 2 for _ in range(96)]).float()
    program = numbers(bend, held)
    return tiny(
        batches=program.batches,
        model=program.model,
        loss=lambda net, batch: binary_cross_entropy(bend(net(batch[0])), batch[1]),
    )


NORMAL = torch.randn(96, 4, generator=torch.Generator().manual_seed(4))
PICTURES = (0.5 + 0.25 * NORMAL).clamp(0, 1)


@pytest.mark.parametrize("program", [numbers(torch.relu, NORMAL), labels(lambda logits: logits.softmax(1))])
def test_targets_that_no_answer_reaches(program: Program) -> None:
    assert [finding.cause for finding in alarming(ReachableLoss(), program)] == ["loss-activation-mismatch"]


@pytest.mark.parametrize(
    "program",
    [
        numbers(lambda said: said, NORMAL),
        numbers(torch.tanh, NORMAL.clamp(-1, 1)),
        numbers(torch.sigmoid, PICTURES),
        pytest.param(numbers(torch.sigmoid, PICTURES + 0.1 * NORMAL.roll(1, 0)), id="noise over either end"),
        labels(torch.sigmoid),
    ],
)
def test_targets_that_answers_come_near(program: Program) -> None:
    assert alarming(ReachableLoss(), program) == []


def contrastive(temperature: float) -> Program:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        one, other = (normalize(model(view)) for view in batch)
        return cross_entropy(one @ other.T / temperature, torch.arange(len(one)))

    return tiny(
        batches=lambda: ((x, x + 0.1 * torch.randn_like(x)) for x, _ in batches()),
        model=lambda: nn.Sequential(Net(), nn.Linear(3, 16)),
        loss=loss,
        views=lambda batch: (batch[0], batch[1]),
    )


def test_a_temperature_that_leaves_nothing_to_gain() -> None:
    assert [finding.cause for finding in alarming(AnswerRange(), contrastive(10.0))] == ["temperature"]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.05])
def test_temperatures_in_use(temperature: float) -> None:
    assert alarming(AnswerRange(), contrastive(temperature)) == []


def test_a_loss_without_a_graph_has_no_terms() -> None:
    def rebuilt(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(torch.tensor(model(batch[0]).tolist(), requires_grad=True), batch[1]).detach()

    def leaf(model: nn.Module, batch: Any) -> Tensor:
        return torch.tensor(float(rebuilt(model, batch)), requires_grad=True)

    assert found(TermBalance(), tiny(loss=leaf)) == []
