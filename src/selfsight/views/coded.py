"""Imagined views whose codes a policy chooses, image by image: of many ways to restore it, the one that teaches.

The corruption stays as it is; what is learned is with which code a frozen restorer is asked for the second picture of a
pair. The first has a code by chance. A policy sees the image and chooses one of some fixed codes; no gradient flows
through the restorer, so that it learns by REINFORCE (`policy.py`), by the encoder's progress or against it.
`LearnedViews` says what is confounded in that reward.

Shapes: N images, V = 2 pictures of each, A codes to choose from, L levels, C channels, S side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from selfsight import answerer
from selfsight.answerer import Precision
from selfsight.batch import Batch, Example
from selfsight.errors import UserError
from selfsight.frozen import mark
from selfsight.images.views import Views
from selfsight.places import anchor
from selfsight.policy import Policy, Reward, action_of, reward_of
from selfsight.restorer import SEEDS
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class CodedViews(ViewSource):
    """Good where a restorer's answers differ in kind, by code. Poor where codes mean another thing in every picture,
    and in short trainings: one number a step tells what came of hundreds of choices."""

    learns: ClassVar[bool] = True

    restorer: str = ""
    """Folder of a run of --task Restore."""
    codes: int = 8
    """A, at least 2: codes to choose from, one seed a level each."""
    reward: Reward = "progress"
    """progress: slow less fast moving average of the encoder's loss; loss: the loss itself, an adversary; none: the
    policy stays as it began, and chooses evenly."""
    rate: float = 0.05
    """Of the policy; more than 0."""
    before: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the corruption, as Restore does."""
    views: Views = Views()
    """What is done to each answer."""
    precision: Precision = "auto"
    """Of the restorer; auto: bf16 where the processor has it."""

    def __post_init__(self) -> None:
        if self.codes < 2 or not self.rate > 0:
            raise ValueError(f"codes are at least 2 and rate more than 0, not {self.codes} and {self.rate}")
        anchor(self, "restorer")

    def reads(self) -> str:
        return mark(self.restorer) if self.restorer else ""

    def doubts(self) -> Sequence[str]:
        return answerer.kept(self.restorer).doubts if self.restorer else ()

    def parts(self, channels: int) -> dict[str, nn.Module]:
        return {"policy": Policy(channels, self.codes, self.rate)}

    def example(self, batch: Batch, generator: Generator) -> Example:
        n = len(batch.images)
        draws = {"chance": torch.rand(n, generator=generator), "seed": torch.randint(SEEDS, (n,), generator=generator)}
        return Example(inputs=self.before(batch.images, generator)[:, None], index=batch.index, extras=draws)

    @torch.no_grad()
    def pictures(self, parts: nn.ModuleDict, example: Example) -> tuple[Tensor, dict[str, Tensor]]:
        images, policy = example.inputs[:, 0], cast(Policy, parts["policy"])
        draws, found = Generator().manual_seed(int(example.extras["seed"][0])), self._restorer(images)
        action = policy.choose(images, self._free(images), example.extras["chance"])
        taken = found.taken(images, draws)
        levels = found.stack.levels
        fixed = torch.arange(self.codes * levels).view(self.codes, levels)  # the same in every step and run
        seeds = torch.stack([found.stack.seeds(len(images), 1, draws)[:, :, 0], fixed[action.cpu()]], 2)
        answers = (found.answered(taken, seeds, self.precision) * 255).round().byte()
        shown = self.views(answers.flatten(0, 1), draws).unflatten(0, answers.shape[:2])
        more = {"action": action.float(), "evenness": policy.evenness(images), "removed": taken.removed}
        return shown, more

    def learn(self, parts: nn.ModuleDict, example: Example, prediction: Mapping[str, Tensor], loss: Tensor) -> None:
        policy, images = cast(Policy, parts["policy"]), example.inputs[:, 0]
        action = action_of(prediction, self.codes)
        policy.learn(images, action, reward_of(policy, self.reward, loss), self._free(images))

    def measures(self, prediction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        action = action_of(prediction, self.codes)
        return {
            "removed": prediction["removed"].detach().float().mean(),
            "most frequent choice": torch.bincount(action, minlength=self.codes).max().float() / len(action),
            "evenness": prediction["evenness"].detach().float().mean(),
        }

    def caption(self, example: Example, i: int) -> str:
        return "the image; which answer to what is left of it, is for the policy to choose"

    def _free(self, images: Tensor) -> Tensor:
        """(N, A) costs: no code is dearer than another."""
        return torch.zeros(len(images), self.codes, device=images.device)

    def _restorer(self, images: Tensor) -> answerer.Answerer:
        if not self.restorer:
            raise UserError("Whose views? Name a run of `selfsight pretrain --task Restore`: --restorer runs/g.")
        found = answerer.kept(self.restorer)
        found.require(images)
        return found
