"""The scale, against closed forms: what a loss can become with a constant output and with free ones."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsight.instruments.reach import Unreachable, reach

INPUTS = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
PRIOR = -sum(p * math.log(p) for p in (2 / 8, *(1 / 8,) * 6))


class Net(nn.Module):
    def __init__(self, outputs: int = 7) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.last = nn.Linear(16, 32), nn.Linear(32, outputs)

    def forward(self, x):
        return self.last(torch.relu(self.hidden(x)))


def pairs(model, temperature=0.5):
    z = F.normalize(torch.cat([model(INPUTS), model(INPUTS + 0.1)]))
    logits = (z @ z.T / temperature).masked_fill(torch.eye(16, dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, (torch.arange(16) + 8) % 16)


def squares(model):
    return ((model(INPUTS)[:, 0] - LABELS.float()) ** 2).mean()


VARIANCE = float(LABELS.float().var(correction=0))
FORMS = {
    "cross-entropy": (Net(), lambda m: F.cross_entropy(m(INPUTS), LABELS), PRIOR, 0.0),
    "softmax before it": (Net(), lambda m: F.cross_entropy(m(INPUTS).softmax(1), LABELS), None, math.log(math.e + 6) - 1),
    "binary": (Net(1), lambda m: F.binary_cross_entropy_with_logits(m(INPUTS)[:, 0], LABELS % 2.0), None, 0.0),
    "squares": (Net(1), squares, VARIANCE, 0.0),
    "squares that broadcast": (Net(1), lambda m: ((m(INPUTS) - LABELS.float()) ** 2).mean(), VARIANCE, VARIANCE),
    "NT-Xent": (Net(16), pairs, math.log(15), None),
    "labels smoothed by 0.1": (
        Net(), lambda m: F.cross_entropy(m(INPUTS), LABELS, label_smoothing=0.1), None,
        -(0.9 + 0.1 / 7) * math.log(0.9 + 0.1 / 7) - 6 * 0.1 / 7 * math.log(0.1 / 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_constant_and_free_answers_are_the_closed_forms(name):
    model, loss, constant, free = FORMS[name]
    scale, _ = reach(lambda net, _: loss(net), model, INPUTS)
    if constant is not None:
        assert scale.constant.loss == pytest.approx(constant, abs=2e-3)
    if free is not None:
        assert scale.free.loss == pytest.approx(free, abs=2e-3)
    assert not scale.free.endless
    assert scale.wide == (name != "squares that broadcast")


def test_label_smoothing_is_no_loss_without_end_and_class_numbers_in_bce_are():
    def numbers(model, _):
        return F.binary_cross_entropy_with_logits(model(INPUTS)[:, 0], LABELS.float())

    assert reach(numbers, Net(1), INPUTS)[0].free.endless
    assert reach(lambda m, _: -F.cross_entropy(m(INPUTS), LABELS), Net(), INPUTS)[0].free.endless


def test_progress_is_zero_at_the_constant_and_one_at_the_best():
    scale, _ = reach(lambda m, _: squares(m), Net(1), INPUTS)
    assert scale.progress(scale.constant.loss) == 0
    assert scale.progress(scale.free.loss) == 1
    assert scale.progress(2 * VARIANCE) == pytest.approx(-1, abs=1e-3)


def test_an_activation_that_cuts_the_loss_off_shows_when_it_is_left_out():
    scale, tail = reach(lambda m, _: F.cross_entropy(m(INPUTS).softmax(1), LABELS), Net(), INPUTS)
    assert [used.name for used in tail.used] == ["softmax", "cross_entropy"]
    assert scale.bare == pytest.approx(0, abs=1e-3)
    assert reach(lambda m, _: F.nll_loss(m(INPUTS).log_softmax(1), LABELS), Net(), INPUTS)[0].bare is None


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_loss_does_not_matter(unit):
    scale, _ = reach(lambda m, batch: unit * squares(m), Net(), None)
    assert scale.constant.loss == pytest.approx(unit * VARIANCE, rel=1e-2)
    assert scale.free.loss == pytest.approx(0, abs=1e-3 * unit)
    assert scale.wide


def test_the_model_is_as_it_was():
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 7))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    reach(lambda m, _: F.cross_entropy(m(INPUTS), LABELS), model, INPUTS)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert torch.equal(drawn, torch.get_rng_state())
    assert all("forward" not in vars(module) for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_that_no_gradient_leads_from_has_no_scale():
    with pytest.raises(Unreachable, match="no gradient"):
        reach(lambda m, _: torch.tensor(float(squares(m).detach())), Net(1), INPUTS)


def test_outputs_that_lie_channels_last_are_free_to_move():
    net = torch.nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)
    draws = torch.Generator().manual_seed(0)
    seen, wanted = (torch.randn(4, 3, 8, 8, generator=draws) for _ in range(2))
    batch = seen.contiguous(memory_format=torch.channels_last)
    scale, _ = reach(lambda model, given: (model(given) - wanted).square().mean(), net, batch)
    assert scale.free.loss < 0.01 < scale.constant.loss
