"""A policy chooses from an image one of A actions, and learns by what came of it: REINFORCE with a baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", section 4:
no gradient has to flow through what an action does. The reward may be the encoder's learning progress (Graves et al.
2017, "Automated Curriculum Learning for Neural Networks"), told by two moving averages of its loss, the slow less the
fast. A budget on the mean of what actions cost is held by a multiplier that grows while it is exceeded. Advantages are
divided by their usual size; a small pull towards all actions alike brings back what chance moved, so that a reward
without signal leads nowhere.

Everything it remembers is in buffers, and its weights are moved here and by no optimizer: they take no gradient.

Shapes: N images, A actions, C channels, H W side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from selfsight.maths.gather import gathered

SLOW, FAST, USUAL = 0.99, 0.9, 0.95
"""How much of themselves the averages keep each step: of the loss, slow and fast, and of the reward and its size."""
PULL = 0.01
"""Weight of the entropy."""
EXPLORED = 0.1
"""Share of choices that are made at random, however sure the policy is: without it one that has settled on an action it
cannot pay for never tries another."""
GRAIN = 1e-8


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
        self.multiplier: Tensor
        self.steps: Tensor
        for name in ("slow", "fast", "baseline", "size", "multiplier", "steps"):
            self.register_buffer(name, torch.zeros(()))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, A) logits."""
        return self.out(self.net(2 * images - 1).flatten(1))

    def choose(self, images: Tensor, chance: Tensor) -> Tensor:
        """(N,) int64: the action whose share of [0, 1) the image's `chance` (N,) falls into."""
        chances = self(images).float().softmax(1)
        heights = ((1 - EXPLORED) * chances + EXPLORED / chances.shape[1]).cumsum(1)
        return (heights < chance.to(heights)[:, None]).sum(1).clamp(max=heights.shape[1] - 1)

    @torch.no_grad()
    def progress(self, loss: Tensor) -> Tensor:
        """Takes a loss into both averages -> slow less fast, above 0 while the loss falls; scalar. 0 at first."""
        now = gathered(loss.detach().float().reshape(1)).mean()
        first = self.steps == 0
        for average, keep in ((self.slow, SLOW), (self.fast, FAST)):
            average.copy_(torch.where(first, now, average * keep + now * (1 - keep)))
        return self.slow - self.fast

    @torch.no_grad()
    def learn(self, images: Tensor, actions: Tensor, reward: Tensor, cost: Tensor) -> None:
        """One step: images (N, C, H, W), the actions taken (N,), what came of them, (N,) or a scalar, and what each
        cost (N,) in [0, 1]."""
        reward = reward.float().expand(len(images))
        every, spent = gathered(reward.contiguous()), gathered(cost.float())
        if self.steps == 0:
            self.baseline.copy_(every.mean())
        advantage = reward - self.baseline
        power = gathered(advantage).square().mean()
        self.size.copy_(torch.where(self.steps == 0, power, self.size * USUAL + power * (1 - USUAL)))
        gain = advantage / (self.size + GRAIN).sqrt() - self.multiplier * (cost.float() - spent.mean())
        self._move(images, actions, gain)
        self.baseline.mul_(USUAL).add_((1 - USUAL) * every.mean())
        self.multiplier.add_(self.rate * (spent.mean() - self.budget)).clamp_(min=0)
        self.steps.add_(1)

    def _move(self, images: Tensor, actions: Tensor, gain: Tensor) -> None:
        with torch.enable_grad():
            weights = {name: value.detach().requires_grad_() for name, value in self.named_parameters()}
            logits = functional_call(self, weights, (images,)).float().log_softmax(1)
            entropy = -(logits.exp() * logits).sum(1)
            taken = logits.gather(1, actions[:, None])[:, 0]
            wanted = (gain.detach() * taken + PULL * entropy).mean()
            slopes = torch.autograd.grad(wanted, list(weights.values()))
        for parameter, slope in zip(self.parameters(), slopes, strict=True):
            parameter.add_(gathered(slope[None]).mean(0).to(parameter), alpha=self.rate)

    def told(self, images: Tensor) -> Tensor:
        """How even its choices are: mean entropy over the greatest, 1 all alike, 0 always the same. Scalar."""
        logits = self(images).float().log_softmax(1)
        return -(logits.exp() * logits).sum(1).mean() / max(1e-9, float(torch.tensor(logits.shape[1]).log()))
