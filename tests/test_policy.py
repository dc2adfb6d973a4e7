"""A policy learns what it should from rewards that were made for it, and nothing from rewards without signal."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import selfsight
from selfsight.batch import Batch, Now
from selfsight.corruptions import Blur, CutOut, Decolour
from selfsight.encoders import Small
from selfsight.policy import LIMIT, Policy, tilt_of
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.views import LearnedViews

N, A = 64, 4
FREE = torch.zeros(A)


def policy(seed=0, **settings):
    torch.manual_seed(seed)
    return Policy(3, A, **settings)


def play(agent, reward, steps=150, cost=FREE, seed="play", watch=None):
    """Steps in which `reward(bright, action, draws)` comes of it; half of the images are bright."""
    for step in range(steps):
        draws = generator(seed, step)
        bright = torch.rand(N, generator=draws) < 0.5
        images = torch.rand(N, 3, 4, 4, generator=draws) * 0.3 + 0.7 * bright[:, None, None, None]
        costs = (cost * (0.5 + torch.rand(N, 1, generator=draws))).clamp(max=1)
        action = agent.choose(images, costs, torch.rand(N, generator=draws))
        if watch:
            watch(agent.chances(images, costs), costs)
        agent.learn(images, action, reward(bright, action, draws), costs)
    return images, bright


def test_it_begins_with_all_actions_alike_and_draws_them_by_chance():
    agent = policy()
    images = torch.rand(N, 3, 8, 8, generator=generator("images"))
    assert torch.equal(agent(images), torch.zeros(N, A))
    chosen = agent.choose(images, torch.rand(N, A, generator=generator("costs")), (torch.arange(N) + 0.5) / N)
    assert chosen.bincount().tolist() == [N // A] * A


def test_it_finds_the_action_that_pays():
    agent = policy(rate=0.1)
    images, _ = play(agent, lambda bright, action, draws: (action == 2).float())
    assert agent(images).softmax(1)[:, 2].mean() > 0.8
    assert agent.evenness(images).mean() < 0.6


def test_it_finds_that_what_pays_depends_on_the_image():
    agent = policy(rate=1.0)
    images, bright = play(agent, lambda bright, action, draws: (action == torch.where(bright, 1, 3)).float(), 200)
    chances = agent(images).softmax(1)
    assert chances[bright, 1].mean() > 0.7
    assert chances[~bright, 3].mean() > 0.7


def test_one_reward_for_all_is_enough():
    """As in training, where the encoder's progress is one number a step: the share of action 0 in the batch."""
    agent = policy(rate=0.3)
    images, _ = play(agent, lambda bright, action, draws: (action == 0).float().mean(), 150)
    assert agent(images).softmax(1)[:, 0].mean() > 0.6


@pytest.mark.parametrize("reward", [0.0, 3.0, -1e6])
def test_a_reward_that_never_changes_moves_nothing(reward):
    agent = policy()
    play(agent, lambda bright, action, draws: torch.tensor(reward), 30, torch.tensor([0.0, 0.2, 0.4, 1.0]))
    assert agent.out.bias.abs().max() < 1e-3


@pytest.mark.parametrize("seed", ["a", "b"])
@pytest.mark.parametrize("shape", ["each", "all"])
def test_noise_leads_nowhere(seed, shape):
    agent = policy()

    def noise(bright, action, draws):
        return torch.randn(len(action) if shape == "each" else (), generator=draws)

    images, _ = play(agent, noise, seed=seed)
    assert agent.evenness(images).mean() > 0.98


def test_the_budget_is_held_at_every_step_and_used():
    """The dearest action is the one that pays: without a budget it is taken, with one as often as can be paid."""
    cost, spent = torch.tensor([0.0, 0.1, 0.2, 0.9]), []
    agent = policy(budget=0.3, rate=0.2)
    images, _ = play(
        agent,
        lambda bright, action, draws: (action == 3).float(),
        cost=cost,
        steps=120,
        watch=lambda chances, costs: spent.append(float((chances * costs).sum(1).mean())),
    )
    assert max(spent) <= 0.3 + 1e-5
    assert min(spent[-50:]) > 0.29
    assert agent(images).abs().max() < LIMIT
    chances = agent.chances(images, cost.expand(N, A))
    assert chances[:, 3].mean() > 0.25
    assert chances[:, 1:3].sum(1).mean() < 0.25


def test_a_budget_that_cannot_be_held_leaves_the_cheapest():
    costs = torch.tensor([0.5, 0.6, 0.7, 0.8]).expand(N, A)
    agent = policy(budget=0.1)
    images = torch.rand(N, 3, 8, 8, generator=generator("images"))
    assert agent.chances(images, costs)[:, 0].min() > 0.999
    agent.learn(images, torch.zeros(N).long(), torch.rand(N, generator=generator("reward")), costs)
    assert all(torch.isfinite(value).all() for value in agent.state_dict().values())


def test_a_tilt_is_no_greater_than_it_has_to_be():
    draws = generator("tilt")
    logs, costs = torch.randn(N, A, generator=draws), torch.rand(N, A, generator=draws)
    assert tilt_of(logs, costs, 1.0) == 0
    tilt = tilt_of(logs, costs, 0.25)
    assert float(((logs - tilt * costs).softmax(1) * costs).sum(1).mean()) == pytest.approx(0.25, abs=1e-5)


def test_learning_follows_the_slope_of_the_projected_chances():
    """What moves along the budget alone, where the reward is what an action costs, moves nothing."""
    cost = torch.tensor([0.1, 0.2, 0.4, 0.8]).expand(512, A)
    draws = generator("slope")
    images = torch.rand(1, 3, 4, 4, generator=draws).expand(512, 3, 4, 4)
    free, held = policy(), policy(budget=0.25)
    for agent in (free, held):
        action = agent.choose(images, cost, (torch.arange(512) + 0.5) / 512)
        agent.learn(images, action, cost[0][action], cost)
    assert free.out.bias[3] > 5e-3
    assert held.out.bias.abs().max() < 0.02 * free.out.bias.abs().max()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_no_reward_breaks_it_and_its_unit_does_not_matter(scale):
    agent = policy(rate=1.0)
    images, _ = play(agent, lambda bright, action, draws: scale * (action == 2).float(), 60)
    assert all(torch.isfinite(value).all() for value in agent.state_dict().values())
    assert agent(images).abs().max() <= LIMIT
    assert agent(images).softmax(1)[:, 2].mean() > 0.6


def test_taken_up_again_it_goes_on_as_if_nothing_had_been():
    def paid(bright, action, draws):
        return (action == 1).float() + torch.rand(N, generator=draws)

    cost = torch.tensor([0.0, 0.5, 0.2, 0.9])
    agent, other = policy(budget=0.2), policy(1, budget=0.2)
    play(agent, paid, 10, cost)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    for one in (agent, other):
        play(one, paid, 10, cost, "later")
    for name, value in agent.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_several_processes_take_the_same_step(monkeypatch):
    """Two, each with images, choices and losses of its own, as two threads that exchange what `gathered` is given."""
    met, given = threading.Barrier(2, timeout=60), {}

    def gathered(z):
        given[threading.current_thread().name] = z
        met.wait()
        both = torch.cat([given[name] for name in sorted(given)])
        met.wait()
        return both

    def work(agent, seed):
        threading.current_thread().name = seed
        play(agent, lambda bright, action, draws: agent.progress(torch.rand((), generator=draws)), 5, cost, seed)

    cost = torch.tensor([0.0, 0.5, 0.2, 0.9])
    monkeypatch.setattr("selfsight.policy.gathered", gathered)
    agents = [policy(budget=0.2), policy(budget=0.2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, agent, seed) for agent, seed in zip(agents, ("one", "two"), strict=True)]:
            done.result()
    assert agents[0].out.bias.abs().max() > 0
    for name, value in agents[0].state_dict().items():
        assert torch.equal(value, agents[1].state_dict()[name]), name


def test_progress_is_told_by_two_averages():
    agent = policy()
    assert agent.progress(torch.tensor(5.0)) == 0
    slow = fast = 5.0
    for loss in (4.0, 3.0, 3.5):
        slow, fast = 0.99 * slow + 0.01 * loss, 0.9 * fast + 0.1 * loss
        assert float(agent.progress(torch.tensor(loss))) == pytest.approx(slow - fast, rel=1e-5)
    assert slow > fast


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


def test_what_is_expected_to_be_removed_is_within_the_budget(restorer_run, photographs):
    source = views(restorer_run, budget=0.11)
    batch = Batch(torch.from_numpy(photographs[:64]).permute(0, 3, 1, 2), torch.arange(64))
    parts = torch.nn.ModuleDict(source.parts(3))
    example = source.example(batch, generator("budget"))
    _, told = source.pictures(parts, example)
    expected = (parts["policy"].chances(example.inputs[:, 0], told["costs"]) * told["costs"]).sum(1).mean()
    assert told["costs"].mean() > 0.13
    assert float(expected) == pytest.approx(0.11, abs=1e-4)
    assert float(source.measures(told)["removed"]) == pytest.approx(0.11, abs=0.04)


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
