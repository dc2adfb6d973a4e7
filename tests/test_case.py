"""A case: guarded calls, replayed randomness, and nothing left behind."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from torch import nn

from selfsight import UserError
from selfsight.case import Failed, examining
from selfsight.planted import Net, batches, loss, tiny
from selfsight.program import Program


def test_a_program_needs_four_callables():
    with pytest.raises(UserError, match=r"Program.loss is None"):
        tiny(loss=None)
    with pytest.raises(UserError, match="predict and Program.criterion go together"):
        tiny(predict=lambda model, batch: model(batch[0]))
    with pytest.raises(UserError, match=r"Program.views is 3"):
        tiny(views=3)
    with pytest.raises(UserError, match="at least 1"):
        tiny(planned_steps=0)
    assert isinstance(tiny(), Program)


def test_random_states_are_put_back():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()

    def drawing(model, batch):
        random.random(), np.random.rand()
        return loss(model, batch) + 0 * torch.rand(())

    with examining(tiny(loss=drawing)) as case:
        trial = case.begin()
        for batch in case.batches:
            case.step(trial, batch)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_the_same_seed_draws_the_same():
    def noisy(model, batch):
        return loss(model, (batch[0] + torch.randn_like(batch[0]), batch[1]))

    with examining(tiny(loss=noisy)) as case:
        model = case.model()
        assert case.value(model, case.batch, 3) == case.value(model, case.batch, 3)
        assert case.value(model, case.batch, 3) != case.value(model, case.batch, 4)
        assert [len(leaf) for leaf in case.batch] == [8, 8]


def test_a_model_that_is_handed_out_again_and_again_is_restored():
    model, before = Net(), None
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with examining(tiny(model=lambda: model)) as case:
        trial = case.begin()
        for batch in case.batches:
            case.step(trial, batch)
        assert not torch.equal(model.head[0].weight, before["head.0.weight"])
        assert torch.equal(case.model().head[0].weight, before["head.0.weight"])
        case.step(case.begin(), case.batch)
        model.eval()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_optimizer_that_was_given_another_group_is_restored():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with examining(tiny(model=lambda: model, optimizer=lambda _: optimizer)) as case:
        case.begin().optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 1.0})
        assert len(case.begin().optimizer.param_groups) == 1
        case.begin().optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 1.0})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1]


def test_a_value_leaves_batch_statistics_alone():
    class Normed(Net):
        def __init__(self):
            super().__init__()
            self.encoder.insert(1, nn.BatchNorm2d(4))

    with examining(tiny(model=Normed)) as case:
        model = case.model()
        before = model.encoder[1].running_mean.clone()
        case.value(model, case.batch)
        case.said(model, case.batch)
        assert torch.equal(before, model.encoder[1].running_mean)


def test_what_raises_is_told_with_the_users_line():
    def failing(model, batch):
        raise KeyError("pictures")  # the line that is told

    with examining(tiny(loss=failing)) as case, pytest.raises(Failed, match="Program.loss raised KeyError") as told:
        case.loss(case.model(), case.batches[0])
    assert told.value.place.file.endswith("test_case.py")
    assert told.value.place.line == failing.__code__.co_firstlineno + 1


def test_what_prints_is_caught_and_counted(capsys):
    def talking(model, batch):
        print("step")
        return loss(model, batch)

    with examining(tiny(loss=talking)) as case:
        case.value(case.model(), case.batches[0])
    assert case.printed == ["step\n"]
    assert capsys.readouterr().out == ""


def test_what_hangs_is_told():
    def endless(model, batch):
        time.sleep(30)

    began = time.monotonic()
    with examining(tiny(loss=endless), patience=0.3) as case, pytest.raises(Failed, match="has not come back"):
        case.loss(case.model(), case.batches[0])
    assert time.monotonic() - began < 5


def test_kept_batches_cannot_be_changed_by_the_program():
    shown = list(batches())

    def spoiling(model, batch):
        value = loss(model, batch)
        batch[0].zero_()
        return value

    with examining(tiny(batches=lambda: shown)) as case:
        kept = [leaf.clone() for leaf in case.batches[0]]
        spoiling(case.model(), shown[0])
        assert torch.equal(case.batches[0][0], kept[0])
