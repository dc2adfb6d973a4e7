from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from selfsight.batch import Example, Outcome
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.optimizer import Optimization
from selfsight.task import Constant, Model, Task, flat
from selfsight.tasks import Rotation, SimCLR
from selfsight.train import Diverged, State, order, train


def begin(task, steps=4, optimization=None, precision="32-true", seed=0):
    torch.manual_seed(0)
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    return State(task, model, optimization or Optimization(), fabric, steps=steps, seed=seed)


def losses(state, photographs, batch=24, **settings):
    return [step.loss for step in train(state, photographs, np.arange(len(photographs)), batch=batch, **settings)]


def test_every_image_is_seen_once_an_epoch_in_another_order():
    count, batch = 103, 10
    epochs = [np.concatenate([order(7, epoch * 10 + k, count, batch) for k in range(10)]) for epoch in range(3)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == 100
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(order(7, 25, count, batch), order(7, 25, count, batch))
    assert not np.array_equal(order(7, 0, count, batch), order(8, 0, count, batch))


def test_only_the_given_rows_are_learned_from(photographs):
    seen = []

    @dataclass(frozen=True)
    class Watching(Rotation):
        def prepare(self, batch, now):
            seen.extend(batch.index.tolist())
            assert torch.equal(batch.images.permute(0, 2, 3, 1), torch.from_numpy(photographs[batch.index]))
            return super().prepare(batch, now)

    where = np.array([3, 5, 8, 13, 21, 34, 55, 89])
    list(train(begin(Watching(), steps=4), photographs, where, batch=4))
    assert set(seen) == set(where.tolist())


def test_accumulation_is_the_mean_of_its_parts(photographs):
    """For a loss that is a mean over images and a network without batch statistics, parts give the whole's gradient."""

    @dataclass(frozen=True)
    class Plain(Task):
        def parts(self, encoder):
            return {"head": nn.Linear(encoder.dim, 3)}

        def prepare(self, batch, now):
            return Example(inputs=batch.images.unsqueeze(1).float() / 255, index=batch.index)

        def predict(self, model, example):
            return {"mean": model.parts["head"](model.encoder(flat(example)))}

        def loss(self, prediction, example):
            return Outcome((prediction["mean"] - example.inputs.mean((1, 3, 4))).pow(2).mean())

        def constant(self, n):
            return Constant(0.1, "")

        def question(self):
            return "How bright?"

    def after(accumulate):
        state = begin(Plain(), steps=3, optimization=Optimization(name="lars", rate=0.1, warmup=0.0))
        for module in state.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        history = losses(state, photographs, batch=24, accumulate=accumulate)
        return history, torch.cat([p.detach().flatten() for p in state.model.parameters()])

    (whole, weights), (parts, same) = after(1), after(3)
    assert parts == pytest.approx(whole, rel=1e-4)
    assert torch.allclose(weights, same, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lars"])
def test_both_optimizers_resume_exactly(photographs, name):
    optimization = Optimization(name=name, rate=1e-3 if name == "adamw" else 0.1, clip=1.0)
    whole = losses(begin(SimCLR(), 5, optimization), photographs)
    state = begin(SimCLR(), 5, optimization)
    first = [step.loss for _, step in zip(range(2), train(state, photographs, np.arange(240), batch=24), strict=False)]
    kept = {name: value.clone() for name, value in state.tensors().items()}
    resumed = begin(SimCLR(), 5, optimization, seed=0)
    resumed.restore(kept, 2)
    assert first + losses(resumed, photographs) == whole


def test_dropout_too_is_a_function_of_seed_and_step(photographs):
    @dataclass(frozen=True, kw_only=True)
    class Dropping(SimCLR):
        def parts(self, encoder):
            made = super().parts(encoder)
            return {"projector": nn.Sequential(nn.Dropout(0.5), made["projector"])}

    first = losses(begin(Dropping()), photographs)
    torch.rand(17)  # what the caller does with the global generator does not matter
    assert losses(begin(Dropping()), photographs) == first
    assert losses(begin(Dropping(), seed=1), photographs) != first


def test_rate_rises_then_falls():
    rates = [Optimization(rate=1.0, warmup=0.1, floor=0.1).rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_biases_and_norms_are_not_decayed_and_parts_have_their_own_rate(photographs):
    @dataclass(frozen=True, kw_only=True)
    class Slow(SimCLR):
        def rates(self):
            return {"projector": 0.01}

    state = begin(Slow())
    by_parameter = {id(p): group for group in state.optimizer.param_groups for p in group["params"]}
    for name, parameter in state.model.named_parameters():
        group = by_parameter[id(parameter)]
        assert (group["weight_decay"] > 0) == (parameter.ndim > 1)
        assert group["factor"] == (0.01 if name.startswith("parts.projector") else 1.0)
    next(train(state, photographs, np.arange(240), batch=24))
    assert {group["lr"] for group in state.optimizer.param_groups} == {2e-3, 2e-5}


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(photographs):
    @dataclass(frozen=True, kw_only=True)
    class Breaking(SimCLR):
        def loss(self, prediction, example):
            outcome = super().loss(prediction, example)
            return Outcome(outcome.loss * math.nan)

    state = begin(Breaking())
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    with pytest.raises(Diverged, match="nan in step 1"):
        losses(state, photographs)
    assert all(torch.equal(before[name], value) for name, value in state.model.named_parameters())


def test_bf16_runs_the_same_path(photographs):
    state = begin(SimCLR(), precision="bf16-mixed")
    assert all(math.isfinite(loss) for loss in losses(state, photographs))
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}


def test_a_task_may_own_whatever_it_needs(photographs):
    """A second network, codes cached per image, a policy with a reward of its own, several pictures an example and
    several losses: all of it goes through the loop as it is, and resumes exactly."""

    @dataclass(frozen=True, kw_only=True)
    class Everything(Task):
        views: Views = Views()

        def parts(self, encoder):
            cache = nn.Module()
            cache.register_buffer("codes", torch.zeros(240, encoder.dim))
            policy = nn.Module()
            policy.logits = nn.Parameter(torch.zeros(4))
            policy.register_buffer("baseline", torch.zeros(()))
            return {"generator": nn.Linear(encoder.dim, encoder.dim), "cache": cache, "policy": policy}

        def prepare(self, batch, now):
            copies = torch.stack([self.views(batch.images, now.generator) for _ in range(3)], 1)
            choice = torch.randint(4, (len(batch.images),), generator=now.generator)
            return Example(inputs=copies, index=batch.index, extras={"choice": choice})

        def predict(self, model, example):
            z = model.encoder(flat(example)).unflatten(0, (-1, 3))
            return {
                "z": z,
                "made": model.parts["generator"](z[:, 0]),
                "code": model.parts["cache"].codes[example.index].clone(),
                "chosen": model.parts["policy"].logits.log_softmax(0)[example.extras["choice"]],
                "baseline": model.parts["policy"].baseline.expand(len(z)),
            }

        def loss(self, prediction, example):
            restore = (prediction["made"] - prediction["code"]).pow(2).mean()
            agree = (prediction["z"][:, 1] - prediction["z"][:, 2]).pow(2).mean()
            reward = -(prediction["z"][:, 1] - prediction["z"][:, 2]).pow(2).mean(1).detach()
            policy = -((reward - prediction["baseline"]) * prediction["chosen"]).mean()
            return Outcome(restore + agree + policy, {"agree": agree.detach()})

        def after_step(self, model, example, prediction, now):
            model.parts["cache"].codes[example.index] = prediction["z"][:, 0].to(model.parts["cache"].codes.dtype)
            model.parts["policy"].baseline.lerp_(prediction["z"].mean(), 0.1)

        def constant(self, n):
            return Constant(0.0, "", optimal=True)

        def question(self):
            return "Everything at once?"

    whole_state = begin(Everything(), 6)
    whole = losses(whole_state, photographs, accumulate=2)
    assert (whole_state.model.parts["cache"].codes.abs().sum(1) > 0).sum() == 6 * 24
    assert whole_state.model.parts["policy"].logits.abs().sum() > 0
    state = begin(Everything(), 6)
    steps = zip(range(3), train(state, photographs, np.arange(240), batch=24, accumulate=2), strict=False)
    first = [step.loss for _, step in steps]
    kept = {name: value.clone() for name, value in state.tensors().items()}
    resumed = begin(Everything(), 6)
    resumed.restore(kept, 3)
    assert first + losses(resumed, photographs, accumulate=2) == whole
