"""Answers are held against the truth in the unit that is said, codes are the nearest of those tried, and are remembered."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from selfsight.batch import Batch, Now
from selfsight.codes import Refresh
from selfsight.corruptions import Chain, CutOut, Decolour, Downsample
from selfsight.distances import Features, Pixels
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.optimizer import Optimization
from selfsight.restorers import CamNet
from selfsight.seeds import generator
from selfsight.selection import Selection
from selfsight.task import Model
from selfsight.tasks import Restore
from selfsight.train import State, order, train

SMALL = {"restorer": CamNet(width=8), "selection": Selection(codes=(4,))}
STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


@pytest.fixture
def batch(photographs):
    return Batch(torch.from_numpy(photographs[:12]).permute(0, 3, 1, 2), torch.arange(12))


def asked(task, batch, word="restore"):
    return task.prepare(batch, Now(0, 1, generator(word)))


def model_of(task):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Small(width=8).build(3, 32)
        return Model(encoder, task.parts(encoder)).eval()


def changed(prediction, example, change):
    """The prediction, with its changes replaced: change((N, C, s, s) what is left, the truth alike) -> (N, C, s, s)."""
    left, truth = example.inputs[:, 0], example.extras["truth"]
    made = dict(prediction)
    for name, value in prediction.items():
        if name.startswith("change"):
            pooled = (torch.nn.functional.adaptive_avg_pool2d(x, value.shape[-1]) for x in (left, truth))
            made[name] = change(*pooled)
    return made


def test_the_truth_has_loss_0_and_the_usual_change_nearly_1(batch):
    task = Restore(**SMALL)
    example = asked(task, batch)
    prediction = task.predict(model_of(task), example)
    right = task.loss(changed(prediction, example, lambda left, truth: truth - left), example)
    usual = task.loss(changed(prediction, example, lambda left, truth: (truth - left).mean(0).expand_as(left)), example)
    assert float(right.loss) == pytest.approx(0, abs=1e-5)
    assert float(usual.loss) == pytest.approx(11 / 12)  # of twelve, each has a share in the mean
    assert float(right.measures["explained"]) == pytest.approx(1, abs=1e-5)


def test_the_code_that_is_trained_on_is_the_nearest_tried(batch):
    task = Restore(**SMALL)
    example, model = asked(task, batch), model_of(task)
    with torch.no_grad():
        told = task.predict(model, example)
    far, _ = task._distances(told, example)
    assert torch.allclose(far.sum(1), told["least"], rtol=1e-3)
    assert (told["mean"] > told["least"]).all()
    assert 0 < float(task.loss(told, example).measures["differ"]) < 1


def test_without_memory_each_visit_is_another_and_with_it_the_same(batch):
    again = Restore(remember=Refresh(), corruption=Chain(corruptions=(Decolour(), CutOut())), **SMALL)
    assert torch.equal(asked(again, batch, "a").inputs, asked(again, batch, "b").inputs)
    other = Batch(batch.images.flip(0), batch.index.flip(0))
    assert torch.equal(asked(again, other, "c").inputs.flip(0), asked(again, batch).inputs)
    anew = Restore(**SMALL)
    assert not torch.equal(asked(anew, batch, "a").inputs, asked(anew, batch, "b").inputs)


def test_codes_are_kept_until_they_are_due(batch):
    task = Restore(remember=Refresh(staleness=2, forced=2), **SMALL)
    model, tried, seeds = model_of(task), [], []
    for visit in range(4):
        example = asked(task, batch, visit)
        with torch.no_grad():
            told = task.predict(model, example)
        task.after_step(model, example, told, Now(visit, 4, generator(visit)))
        tried.append(float(told["tried"].mean()))
        seeds.append(told["seeds"])
    assert tried == [1, 0, 0, 1]
    assert torch.equal(seeds[0], seeds[2])
    measures = task.loss(task.predict(model, asked(task, batch)), asked(task, batch)).measures
    assert (float(measures["tried"]), float(measures["differ"])) == (0, 0)
    assert float(measures["nearest"]) == float(measures["random"]) == float(measures["changed"]) == 0


def test_the_share_of_changed_codes_is_that_of_images_that_had_one(batch):
    task = Restore(remember=Refresh(staleness=0, forced=1), **SMALL)
    model, before, shares, compared = model_of(task), None, [], 0
    for visit in range(4):
        example = asked(task, batch, visit)
        with torch.no_grad():
            told = task.predict(model, example)
        shares.append(float(task.loss(told, example).measures["changed"]))
        chose = told["tried"] > 0.5
        if before is not None and chose.any():
            assert shares[-1] == pytest.approx(float((told["seeds"] != before).flatten(1).any(1)[chose].float().mean()))
            compared += 1
        before = told["seeds"]
        task.after_step(model, example, told, Now(visit, 4, generator(visit)))
    assert compared >= 2
    assert shares[0] == 0
    assert shares[1] > 0.5


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_codes_that_were_chosen_are_those_that_are_kept(photographs, precision, monkeypatch):
    task, chosen = Restore(remember=Refresh(), **SMALL), []
    choose = Restore._chosen
    monkeypatch.setattr(Restore, "_chosen", lambda *given: chosen.append(choose(*given)) or chosen[-1])
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    state = State(task, model_of(task).train(), Optimization(), fabric, steps=1, seed=1)
    next(train(state, photographs[:12], np.arange(12), batch=12))
    index = torch.from_numpy(order(1, 0, 12, 12))
    assert torch.equal(state.model.parts["codes"].kept(index), chosen[0][0])


def test_nearest_and_random_answers_are_told_in_the_unit_of_the_loss(batch):
    task = Restore(**SMALL)
    example, model = asked(task, batch), model_of(task)
    outcome = task.loss(task.predict(model, example), example)
    measures = {name: float(value) for name, value in outcome.measures.items()}
    assert measures["nearest"] == pytest.approx(float(outcome.loss.detach()), rel=1e-3)
    assert 1 - measures["nearest"] / measures["random"] == pytest.approx(measures["differ"], rel=1e-4)


def test_a_trained_restorer_is_judged_by_answers_as_they_are_used(batch):
    task = Restore(**SMALL)
    nearest, usual, apart, sharp = task.judged(model_of(task), batch.images).values()
    assert 0 < nearest < usual
    assert apart > 0 and sharp > 0
    assert task.judged(model_of(task), batch.images)["distance of a random answer"] == usual
    twin = Restore(restorer=CamNet(width=8, ways=False))
    assert twin.judged(model_of(twin), batch.images) == {}


def test_nearest_of_more_codes_is_nearer(batch):
    one, many = (Restore(restorer=CamNet(width=8), selection=Selection(codes=(k,)), views=STILL) for k in (1, 16))
    losses = []
    for task in (one, many):
        example, model = asked(task, batch), model_of(task)
        losses.append(float(task.loss(task.predict(model, example), example).loss.detach()))
    assert losses[1] < losses[0]


def test_the_regression_twin_answers_once(batch):
    task = Restore(restorer=CamNet(width=8, ways=False), corruption=Downsample())
    example, model = asked(task, batch), model_of(task)
    assert float(task.loss(task.predict(model, example), example).measures["differ"]) == pytest.approx(0, abs=1e-6)


def test_what_is_missing_is_said_before_the_training():
    encoder = Small(width=8).build(3, 32)
    with pytest.raises(UserError, match="none was given"):
        Restore(distance=Features()).parts(encoder)
    with pytest.raises(ValueError, match="memory is a number of images"):
        Restore(memory=0)
    with pytest.raises(UserError, match="Downsample does not: take auto"):
        Restore(restorer=CamNet(predicts="colour"), corruption=Downsample()).parts(encoder)
    assert Restore(distance=Pixels()).parts(encoder)
