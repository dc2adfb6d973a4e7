"""A policy learns what it should from rewards that were made for it, and nothing from rewards without signal."""

from __future__ import annotations

import pytest
import torch

import selfsight
from selfsight.batch import Batch, Now
from selfsight.corruptions import Blur, CutOut, Decolour
from selfsight.encoders import Small
from selfsight.policy import Policy
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.views import LearnedViews

N, A = 64, 4


def policy(seed=0, **settings):
    torch.manual_seed(seed)
    return Policy(3, A, **settings)


def play(agent, reward, steps=300, cost=None, seed="play"):
    """Steps in which `reward(bright, action, draws)` comes of it; half of the images are bright."""
    draws = generator(seed)
    for _ in range(steps):
        bright = torch.rand(N, generator=draws) < 0.5
        images = torch.rand(N, 3, 8, 8, generator=draws) * 0.3 + 0.7 * bright[:, None, None, None]
        action = agent.choose(images, torch.rand(N, generator=draws))
        paid = torch.zeros(N) if cost is None else cost[action]
        agent.learn(images, action, reward(bright, action, draws), paid)
    return images, bright


def test_it_begins_with_all_actions_alike_and_draws_them_by_chance():
    agent = policy()
    images = torch.rand(N, 3, 8, 8, generator=generator("images"))
    assert torch.equal(agent(images), torch.zeros(N, A))
    assert agent.choose(images, (torch.arange(N) + 0.5) / N).bincount().tolist() == [N // A] * A


def test_it_finds_the_action_that_pays():
    agent = policy()
    images, _ = play(agent, lambda bright, action, draws: (action == 2).float())
    assert agent(images).softmax(1)[:, 2].mean() > 0.8
    assert agent.told(images) < 0.7


def test_it_finds_that_what_pays_depends_on_the_image():
    agent = policy(rate=0.2)
    images, bright = play(agent, lambda bright, action, draws: (action == torch.where(bright, 1, 3)).float(), steps=600)
    chances = agent(images).softmax(1)
    assert chances[bright, 1].mean() > 0.7
    assert chances[~bright, 3].mean() > 0.7


def test_one_reward_for_all_is_enough():
    """As in training, where the encoder's progress is one number a step: the share of action 0 in the batch."""
    agent = policy()
    images, _ = play(agent, lambda bright, action, draws: (action == 0).float().mean(), steps=600)
    assert agent(images).softmax(1)[:, 0].mean() > 0.6


def test_a_reward_that_never_changes_moves_nothing():
    agent = policy()
    play(agent, lambda bright, action, draws: torch.tensor(3.0))
    assert agent.out.bias.abs().max() < 1e-6


@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_noise_leads_nowhere(seed):
    agent = policy()
    images, _ = play(agent, lambda bright, action, draws: torch.randn(len(action), generator=draws), seed=seed)
    assert agent.told(images) > 0.95


def test_the_budget_is_held():
    """The action that pays costs the most: without a budget it is taken, with one about as often as can be paid."""
    cost = torch.tensor([0.0, 0.0, 0.0, 1.0])
    for budget, low, high in ((1.0, 0.8, 1.0), (0.3, 0.1, 0.45)):
        agent = policy(budget=budget)
        images, _ = play(agent, lambda bright, action, draws: (action == 3).float(), steps=800, cost=cost)
        assert low < agent(images).softmax(1)[:, 3].mean() < high


def test_progress_is_told_by_two_averages():
    agent = policy()
    assert agent.progress(torch.tensor(5.0)) == 0
    agent.steps.add_(1)
    slow, fast = 5.0, 5.0
    for loss in (4.0, 3.0, 2.0):
        slow, fast = 0.99 * slow + 0.01 * loss, 0.9 * fast + 0.1 * loss
        assert float(agent.progress(torch.tensor(loss))) == pytest.approx(slow - fast, rel=1e-5)


def views(run, **settings):
    return LearnedViews(restorer=run, actions=(Decolour(), Blur(), CutOut()), **settings)


def test_it_learns_while_the_encoder_does(restorer_run, photographs):
    task = selfsight.SimCLR(views=views(restorer_run, reward="loss"))
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    batch = Batch(torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2), torch.arange(16))
    agent = model.parts["policy"]
    assert not any(p.requires_grad for p in agent.parameters())
    for step in range(3):
        now = Now(step, 3, generator("learned", step))
        example = task.prepare(batch, now)
        prediction = task.predict(model, example)
        outcome = task.loss(prediction, example)
        assert 0 < outcome.measures["removed"] < 1
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator("shaken", step)))
        task.after_step(model, example, {name: value.detach() for name, value in prediction.items()}, now)
    assert agent.steps == 3
    assert agent.out.bias.abs().max() > 0
    assert set(prediction["action"].tolist()) <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"actions": (Blur(),)}, "at least 2, not 1"),
        ({"budget": 0.0}, "budget is a share in"),
        ({"rate": 0.0}, "rate more than 0"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        LearnedViews(**settings)
