"""A policy chooses from an image one of A actions, and learns by what came of it: REINFORCE with a baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", section 4:
no gradient has to flow through what an action does. The reward may be the encoder's learning progress (Graves et al.
2017, "Automated Curriculum Learning for Neural Networks"), told by two moving averages of its loss, the slow less the
fast.

The budget is held by projection, not by a penalty that has to be learned: what every action would cost every image is
known before one is chosen, so that one number, the tilt, makes dear actions just so much rarer that the expected mean
cost of the images at hand is the budget at most. Learning follows the slope of the projected chances, of which the tilt
is a part, so that the log-odds do not run after what the budget forbids.

Nothing here can run away: advantages are divided by their usual size, steps are of bounded length, log-odds are
bounded, every action keeps some chance, and the last layer is drawn back to nought, so that a reward without signal
leads nowhere. All that it remembers is in buffers, and its weights are moved here and by no optimizer.

Shapes: N images, A actions, C channels, H W side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from selfsight.maths.gather import gathered

SLOW, FAST, USUAL = 0.99, 0.9, 0.95
"""How much of themselves the averages keep each step: of the loss, slow and fast, and of the reward and its size."""
PULL = 0.01
"""How fast the last layer is drawn to nought, of its rate."""
EXPLORED = 0.1
"""Share of choices that are made at random before the budget is seen to: what is never tried is never learned of."""
LIMIT = 3.0
"""Of the log-odds, both ways: at most e^6 = 400 times as likely."""
STEEPEST = 500.0
"""The greatest tilt: an action that costs 0.01 more is then 150 times rarer."""
TINY = 1e-4
"""Of the usual reward: advantages below are rounding."""
LEAST = 1e-6
"""Variance of costs below which no tilt changes what is spent."""


Reward = Literal["progress", "loss", "none"]


class Policy(nn.Module):
    """Two strided convolutions, a mean over places, and a layer that begins at nought: all actions alike."""

    def __init__(self, channels: int, actions: int, rate: float = 0.05, budget: float = 1.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.out = nn.Linear(32, actions)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.rate, self.budget = rate, budget
        self.slow: Tensor
        self.fast: Tensor
        self.baseline: Tensor
        self.size: Tensor
        self.seen: Tensor
        self.steps: Tensor
        for name in ("slow", "fast", "baseline", "size", "seen", "steps"):
            self.register_buffer(name, torch.zeros(()))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, A) log-odds in [-LIMIT, LIMIT], single precision under autocast too."""
        with torch.autocast(images.device.type, enabled=False):
            features = self.net(2 * images.to(self.out.weight) - 1).flatten(1)
            unit = F.normalize(features - features.mean(1, keepdim=True), dim=1)  # no more than the bias beside it
            return LIMIT * torch.tanh(self.out(unit) / LIMIT)

    def chances(self, images: Tensor, costs: Tensor) -> Tensor:
        """Images and what each action would cost each, (N, A) in [0, 1] -> chances (N, A), whose expected mean cost is
        the budget at most, or as little as can be."""
        return _projected(_explored(self(images)), costs, self.budget).exp()

    def choose(self, images: Tensor, costs: Tensor, chance: Tensor) -> Tensor:
        """(N,) int64: the action whose share of [0, 1) the image's `chance` (N,) falls into."""
        heights = self.chances(images, costs).cumsum(1)
        return (heights < chance.to(heights)[:, None]).sum(1).clamp(max=heights.shape[1] - 1)

    @torch.no_grad()
    def progress(self, loss: Tensor) -> Tensor:
        """Takes a loss into both averages -> slow less fast, above 0 while the loss falls; scalar. 0 at first."""
        now = gathered(loss.detach().float().reshape(1)).mean()
        for average, keep in ((self.slow, SLOW), (self.fast, FAST)):
            average.copy_(torch.where(self.seen == 0, now, average * keep + now * (1 - keep)))
        self.seen.add_(1)
        return self.slow - self.fast

    @torch.no_grad()
    def learn(self, images: Tensor, actions: Tensor, reward: Tensor, costs: Tensor) -> None:
        """One step: images (N, C, H, W), the actions taken (N,), what came of them, (N,) or a scalar, and what each
        would have cost (N, A). Several processes take the same step, the mean of theirs."""
        reward = reward.float().expand(len(images))
        mean = gathered(reward.contiguous()).mean()
        first = self.steps == 0
        baseline = torch.where(first, mean, self.baseline)
        advantage = reward - baseline
        power = gathered(advantage.contiguous()).square().mean()
        self.size.copy_(torch.where(first, power, self.size * USUAL + power * (1 - USUAL)))
        least = (TINY * baseline.abs()).clamp(min=1e-12)  # whose square single precision still holds
        self._move(images, actions, advantage / (self.size.sqrt() + least), costs)
        self.baseline.copy_(baseline * USUAL + mean * (1 - USUAL))
        self.steps.add_(1)

    def _move(self, images: Tensor, actions: Tensor, gain: Tensor, costs: Tensor) -> None:
        with torch.enable_grad():
            weights = {name: value.detach().requires_grad_() for name, value in self.named_parameters()}
            logs = _projected(_explored(functional_call(self, weights, (images,))), costs, self.budget)
            wanted = (gain.detach() * logs.gather(1, actions[:, None])[:, 0]).mean()
            slopes = [gathered(slope[None]).mean(0) for slope in torch.autograd.grad(wanted, list(weights.values()))]
        length = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt().clamp(min=1)
        for parameter in self.out.parameters():
            parameter.mul_(1 - min(1.0, self.rate * PULL))
        for parameter, slope in zip(self.parameters(), slopes, strict=True):
            parameter.add_((slope / length).to(parameter), alpha=self.rate)

    @torch.no_grad()
    def evenness(self, images: Tensor) -> Tensor:
        """(N,): entropy of what it would choose without a budget, of the greatest; 1 all alike, 0 always the same."""
        logs = self(images).log_softmax(1)
        return -(logs.exp() * logs).sum(1) / torch.tensor(float(logs.shape[1])).log().to(logs)


def reward_of(policy: Policy, reward: Reward, loss: Tensor) -> Tensor:
    """What a step's choices are rewarded by, a scalar; takes the loss into the policy's averages."""
    progress = policy.progress(loss)
    return {"progress": progress, "loss": loss.detach(), "none": torch.zeros_like(progress)}[reward]


def action_of(prediction: Mapping[str, Tensor], actions: int) -> Tensor:
    """(N,) int64: which of so many actions a prediction says were taken."""
    return prediction["action"].detach().round().long().clamp(0, actions - 1)


def tilt_of(logs: Tensor, costs: Tensor, budget: float) -> Tensor:
    """The least t of [0, STEEPEST] with which softmax(logs - t costs), (N, A), costs the budget at most, in the mean
    over images; STEEPEST where none does. Scalar. What is spent only falls with t, so that halving finds it."""
    low, high = logs.new_zeros(()), logs.new_tensor(STEEPEST)
    if _spent(logs, costs) <= budget:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        over = _spent(logs - middle * costs, costs) > budget
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return high


def _spent(logs: Tensor, costs: Tensor) -> Tensor:
    return (logs.softmax(1) * costs).sum(1).mean()


def _explored(odds: Tensor) -> Tensor:
    """Log-odds (N, A) -> logarithms of chances, some of which are given to all alike."""
    return ((1 - EXPLORED) * odds.softmax(1) + EXPLORED / odds.shape[1]).log()


def _projected(logs: Tensor, costs: Tensor, budget: float) -> Tensor:
    """Logarithms of chances (N, A) within the budget. The tilt's own slope is that of one Newton step, which changes
    its value by nothing: d spent / d tilt is minus the mean variance of an image's costs."""
    costs = costs.to(logs)
    tilt = tilt_of(logs.detach(), costs, budget)
    chances = (logs.detach() - tilt * costs).softmax(1)
    spread = (chances * costs.square()).sum(1) - (chances * costs).sum(1).square()
    spent = _spent(logs - tilt * costs, costs)
    slope = torch.where((tilt > 0) & (tilt < STEEPEST), 1 / spread.mean().clamp(min=LEAST), 0)
    return (logs - (tilt + (spent - spent.detach()) * slope) * costs).log_softmax(1)
