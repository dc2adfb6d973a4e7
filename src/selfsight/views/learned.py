"""Imagined views whose corruption a policy chooses, image by image, by how much the encoder learns from them.

A policy sees the image and chooses one of several corruptions, and so its kind, its strength and its place: halves that
are hidden are actions of their own. A frozen restorer answers twice to what is left. No gradient flows through it, so
that the policy learns by REINFORCE (`policy.py`): its reward is the encoder's learning progress, slow less fast moving
average of its loss, or, for an adversary, the loss. Tamkin, Wu, Goodman 2021, "Viewmaker Networks", sends the
adversary's gradient back reversed; here the restorer lies between, and what is alike is a budget on what views may
change. Every corruption is applied to every image, so that what each would remove is known before one is chosen and
the mean that is expected is within the budget at every step.

What progress tells is confounded: an image made easier lowers the loss at once, which looks like learning. Judge what a
policy chose by a probe, beside `none` within the same budget.

The policy is trained, so that its choices are made where networks run, in `predict`; what is prepared is the image and
the draws.

Shapes: N images, V = 2 pictures of each, A actions, C channels, S side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from selfsight import answerer
from selfsight.answerer import Precision
from selfsight.batch import Batch, Example
from selfsight.corruption import Corrupted, Corruption
from selfsight.corruptions import Chain, CowMask, CropOut, CutOut, Decolour, Downsample
from selfsight.errors import UserError
from selfsight.frozen import mark
from selfsight.images.views import Views
from selfsight.places import anchor
from selfsight.policy import Policy, Reward, action_of, reward_of
from selfsight.restorer import SEEDS
from selfsight.view import ViewSource

ACTIONS = (
    Decolour(),
    Downsample(factors=(2,)),
    Downsample(factors=(4,)),
    Chain(corruptions=(Decolour(), Downsample(factors=(4,)))),
    CutOut(),
    *(CropOut(lies=side, kept=(0.5, 0.5)) for side in ("top", "bottom", "left", "right")),
    CowMask(),
)


@dataclass(frozen=True, kw_only=True)
class LearnedViews(ViewSource):
    """Good where no one knows what to take away. Poor in short trainings: one number a step tells what came of hundreds
    of choices. The restorer should have seen such corruptions."""

    learns: ClassVar[bool] = True

    restorer: str = ""
    """Folder of a run of --task Restore."""
    actions: tuple[Corruption, ...] = ACTIONS
    """What there is to choose from, 2 or more."""
    reward: Reward = "progress"
    """progress: slow less fast moving average of the encoder's loss; loss: the loss itself, an adversary; none: the
    policy stays as it began, and only the budget keeps it from choosing evenly."""
    budget: float = 0.4
    """The mean share of a picture that may be removed, as `removed` tells, (0, 1]. Where even the mildest corruption
    removes more, that one is nearly always chosen."""
    rate: float = 0.05
    """Of the policy; more than 0."""
    before: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the corruption, as Restore does."""
    views: Views = Views()
    """What is done to each answer."""
    precision: Precision = "auto"
    """Of the restorer; auto: bf16 where the processor has it."""

    def __post_init__(self) -> None:
        if len(self.actions) < 2:
            raise ValueError(f"actions are corruptions to choose from, at least 2, not {len(self.actions)}")
        if not 0 < self.budget <= 1 or not self.rate > 0:
            raise ValueError(f"budget is a share in (0, 1] and rate more than 0, not {self.budget} and {self.rate}")
        anchor(self, "restorer")

    def reads(self) -> str:
        return mark(self.restorer) if self.restorer else ""

    def doubts(self) -> Sequence[str]:
        if not self.restorer:
            return ()
        restorer = answerer.kept(self.restorer)
        return [*restorer.doubts, *restorer.unseen(self.actions)]

    def parts(self, channels: int) -> dict[str, nn.Module]:
        return {"policy": Policy(channels, len(self.actions), self.rate, self.budget)}

    def example(self, batch: Batch, generator: Generator) -> Example:
        n = len(batch.images)
        draws = {"chance": torch.rand(n, generator=generator), "seed": torch.randint(SEEDS, (n,), generator=generator)}
        return Example(inputs=self.before(batch.images, generator)[:, None], index=batch.index, extras=draws)

    @torch.no_grad()
    def pictures(self, parts: nn.ModuleDict, example: Example) -> tuple[Tensor, dict[str, Tensor]]:
        images, policy = example.inputs[:, 0], cast(Policy, parts["policy"])
        draws = Generator().manual_seed(int(example.extras["seed"][0]))
        done = [corruption(images, draws) for corruption in self.actions]
        costs = torch.stack([one.removed for one in done], 1).float()
        action = policy.choose(images, costs, example.extras["chance"])
        each = torch.arange(len(images), device=images.device)
        taken = Corrupted(
            *(torch.stack([getattr(one, field.name) for one in done], 1)[each, action] for field in fields(Corrupted))
        )
        answers = (self._restorer(images).answers(taken, 2, draws, self.precision) * 255).round().byte()
        shown = self.views(answers.flatten(0, 1), draws).unflatten(0, answers.shape[:2])
        return shown, {"action": action.float(), "costs": costs, "evenness": policy.evenness(images)}

    def learn(self, parts: nn.ModuleDict, example: Example, prediction: Mapping[str, Tensor], loss: Tensor) -> None:
        policy, images = cast(Policy, parts["policy"]), example.inputs[:, 0]
        reward = reward_of(policy, self.reward, loss)
        policy.learn(images, action_of(prediction, len(self.actions)), reward, prediction["costs"])

    def measures(self, prediction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        action, costs = action_of(prediction, len(self.actions)), prediction["costs"].detach().float()
        shares = torch.bincount(action, minlength=len(self.actions)).float() / len(action)
        return {
            "removed": costs.gather(1, action[:, None]).mean(),
            "most frequent choice": shares.max(),
            "evenness": prediction["evenness"].detach().float().mean(),
        }

    def caption(self, example: Example, i: int) -> str:
        return "the image; what is taken from it is for the policy to choose"

    def _restorer(self, images: Tensor) -> answerer.Answerer:
        if not self.restorer:
            raise UserError("Whose views? Name a run of `selfsight pretrain --task Restore`: --restorer runs/g.")
        found = answerer.kept(self.restorer)
        found.require(images)
        return found
