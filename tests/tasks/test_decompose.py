"""Decompose: masks that compose the picture whatever the weights, and that find the objects of drawn scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.scenes import scene
from selfsight.images.views import Views
from selfsight.maths.segments import collapses, foreground_ari
from selfsight.optimizer import Optimization
from selfsight.seeds import generator
from selfsight.slots import Competition, Sticks, distances, seeds, weighted
from selfsight.task import Model
from selfsight.tasks import Decompose
from selfsight.train import State, train

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
WAYS = [{"shares": "slots"}, {"shares": "sticks"}, {"shares": "decoded", "paint": 8}, {"error": "mixture"}]


def batch_of(count, side=32):
    pixels = np.stack([scene(i, side=side).image for i in range(count)])
    return Batch(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.arange(count))


def made(task, side=32, channels=3):
    torch.manual_seed(0)
    encoder = Small(width=8).build(channels, side)
    return Model(encoder, task.parts(encoder))


def asked(task, batch):
    return task.prepare(batch, Now(0, 1, generator("asked")))


@pytest.mark.parametrize("given", WAYS, ids=str)
@pytest.mark.parametrize("side", [32, 35])
def test_masks_sum_to_one_and_a_perfect_composition_costs_nothing(given, side):
    task = Decompose(views=STILL, **given)
    example = asked(task, batch_of(4, side))
    told = task.predict(made(task, side), example)
    assert told["logits"].shape == (4, 6, side, side)
    assert told["pictures"].shape == (4, 6, 3, side, side)
    assert torch.allclose(told["logits"].softmax(1).sum(1), torch.ones(4, side, side), atol=1e-5)
    right = {**told, "pictures": example.inputs.expand(-1, 6, -1, -1, -1)}
    assert float(task.loss(right, example).loss.detach()) == pytest.approx(0, abs=2e-3)


def test_sticks_are_broken_as_monet_breaks_them():
    """s_0 = 1, m_t = s_t a_t, s_{t+1} = s_t (1 - a_t), and the last takes what is left; slowly, from the paper."""
    pixels, numbers, sharing = torch.randn(2, 30, 5), torch.rand(2, 4), Sticks()
    logits, queries = sharing(pixels, numbers)
    far = (queries[:, :, None] - pixels[:, None]).square().mean(3)
    taken = torch.exp(-sharing.log_sharpness.exp() * far).clamp(max=1 - 1e-4)
    left, masks = torch.ones(2, 30), []
    for t in range(3):
        masks.append(left * taken[:, t])
        left = left * (1 - taken[:, t])
    slowly = torch.stack([*masks, left], 1)
    assert torch.allclose(logits.softmax(1), slowly, atol=2e-4)
    assert torch.allclose(logits.exp().sum(1), torch.ones(2, 30), atol=1e-3)


def test_slots_begin_as_means_of_what_they_won():
    """Before it has learned anything, a competition is soft k-means from its seeds."""
    pixels, numbers, sharing = torch.randn(2, 25, 5), torch.rand(2, 3), Competition(5, 8, 2)
    sharpness = sharing.log_sharpness.exp()
    queries = seeds(pixels, numbers, sharpness)
    for _ in range(2):
        queries = weighted((-sharpness * distances(queries, pixels)).softmax(1), pixels)
    assert torch.allclose(sharing(pixels, numbers)[0], -sharpness * distances(queries, pixels), atol=1e-4)


def test_seeds_lie_far_from_one_another():
    """Three tight heaps, one a tenth of the others: each gets a seed whatever the draws."""
    heaps = torch.tensor([0] * 100 + [1] * 100 + [2] * 10)
    pixels = torch.eye(3)[heaps][None] * 4 + 0.01 * torch.randn(1, 210, 3)
    for number in torch.rand(20, 3, generator=generator("draws")):
        found = seeds(pixels, number[None], torch.tensor(8.0))
        assert set(found[0].argmax(1).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("error", ["owned", "composed", "mixture"])
def test_the_errors_are_what_they_are_called(error):
    """Restated pixel by pixel for two slots of which one is black and one white."""
    task = Decompose(views=STILL, slots=2, error=error, deviation=0.2)
    example = asked(task, batch_of(5, 16))
    x, logits = example.inputs[:, 0].double(), torch.randn(5, 2, 16, 16).double()
    pictures = torch.stack([torch.zeros(5, 3, 16, 16), torch.ones(5, 3, 16, 16)], 1).double()
    m = logits.softmax(1)
    if error == "owned":
        wanted = (m[:, 0] * (x**2).mean(1) + m[:, 1] * ((1 - x) ** 2).mean(1)).mean()
    elif error == "composed":
        wanted = (m[:, 1:] - x).square().mean()
    else:
        normal = [torch.exp(-((x - level) ** 2).sum(1) / (2 * 0.04)) for level in (0, 1)]
        wanted = -(2 * 0.04 / 3) * (m[:, 0] * normal[0] + m[:, 1] * normal[1]).log().mean()
    unit = ((x - x.mean(0)) ** 2).sum(0).mean() / 4
    found = task.loss({"logits": logits, "pictures": pictures}, example)
    assert float(found.loss.detach()) == pytest.approx(float(wanted / unit), rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"slots": 1}, "slots is at least 2"),
        ({"deviation": 0}, "more than 0"),
        ({"shares": "decoded", "paint": 4}, "paint is at least 8"),
    ],
)
def test_settings_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        Decompose(**wrong)


@pytest.mark.parametrize("shares", ["slots", "sticks"])
def test_scenes_come_apart(shares):
    """The objects are told from one another, before training by colour alone and after it no worse than the bar, and
    in no scene has one mask all; what slots paint is learned."""
    task = Decompose(views=STILL, shares=shares)
    model, test = made(task), [scene(i, side=32) for i in range(500, 540)]
    images = np.stack([scene(i, side=32).image for i in range(128)])
    state = State(task, model, Optimization(rate=3e-3), Fabric(accelerator="cpu", devices=1), steps=40, seed=0)
    losses = [step.loss for step in train(state, images, np.arange(128), batch=16)]
    ari, whole = _judged(task, model, test)
    assert ari > 0.9
    assert whole == 0
    assert sum(losses[-5:]) / 5 < 0.6


def _judged(task, model, test):
    pixels = torch.from_numpy(np.stack([one.image for one in test])).permute(0, 3, 1, 2)
    model.eval()
    with torch.no_grad():
        masks = task.predict(model, asked(task, Batch(pixels, torch.arange(len(test)))))["logits"].softmax(1).numpy()
    model.train()
    owner = np.stack([one.owner for one in test])
    return foreground_ari(masks.argmax(1), owner).mean(), collapses(masks).images().mean()
