"""Imagined views: what a frozen restorer could have seen in what a corruption left, two answers of which are a pair.

A picture is corrupted and restored several times, each time by another code; what all answers share is what was left
and what the restorer knows of such pictures, and that is what an encoder is taught to see. Related: Jahanian, Puig,
Tian, Isola 2022, "Generative Models as a Data Source for Multiview Representation Learning" (views made by a generator
alone), and Li et al. 2024, "GenView: Enhancing View Quality with Pretrained Generative Model for Self-Supervised
Learning" (pairs weighted by their quality). Unlike both, the generator has learned from the same images alone.

Answers pass through eight bits, so that those made on the fly and those kept are one. No gradient reaches the restorer.

Shapes: N images, K answers to each, V pictures of each, C channels, S side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from selfsight import answerer, frozen, imagined
from selfsight.answerer import Answerer, Precision
from selfsight.batch import Batch, Example
from selfsight.corruption import Corruption
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.imagined import Answers
from selfsight.places import anchor
from selfsight.restorer import SEEDS
from selfsight.view import Choice, ViewSource

CHOSEN_FROM = 4
"""Answers that a choice is made from where no number was given."""


@dataclass(frozen=True, kw_only=True)
class GeneratedViews(ViewSource):
    """Good where what the answers differ in is not what tells the classes apart. Poor with a restorer whose answers do
    not keep the class, or are all alike: `selfsight imagine` writes a page that shows both."""

    restorer: str = ""
    """Folder of a run of --task Restore, or of answers kept by `selfsight imagine`."""
    corruption: Corruption | None = None
    """What is taken away before answers are made; None: what the restorer was trained on."""
    answers: int | None = None
    """K, of which `choose` takes; None: as many as are shown, 4 where there is a choice, all that are kept."""
    choose: Choice = "random"  # type: ignore[misc]
    """random: two of them; most_different: the two that the encoder, as it is now, finds farthest apart; all."""
    beside: Literal["answer", "image"] = "answer"
    """What an answer is compared with: another answer, or the image itself."""
    share: float = 1.0
    """Chance of an image to be imagined; of the others two ordinary views are shown. (0, 1]."""
    weigh: float = 0.0  # type: ignore[misc]
    """How much less an answer counts that does not agree with what was left: by exp(-weigh far), far the squared
    distance of what the corruption leaves of it from what was left, 1 for the mean of the batch. At least 0."""
    views: Views = Views()
    """What is done to each answer, and to the image, as to any picture: crop, flip, rotation, colour."""
    precision: Precision = "auto"
    """Of the restorer; auto: bf16 where the processor has it."""

    def __post_init__(self) -> None:
        least = 1 if self.beside == "image" else 2
        if self.answers is not None and self.answers < least:
            raise ValueError(f"answers is a number of at least {least} beside {self.beside}, not {self.answers}")
        if self.choose == "most_different" and self.answers == least:
            raise ValueError(f"most_different needs a choice: give answers of {least + 1} or more, or choose random")
        if not 0 < self.share <= 1 or not (self.weigh >= 0 and math.isfinite(self.weigh)):
            raise ValueError(
                f"share is a chance in (0, 1] and weigh a number of at least 0, not {self.share} and {self.weigh}"
            )
        anchor(self, "restorer")

    def example(self, batch: Batch, generator: Generator) -> Example:
        images = batch.images
        made = self._answers(batch, generator)
        pictures = torch.cat([images[:, None], made.answers], 1) if self.beside == "image" else made.answers
        weight = torch.exp(-self.weigh * made.far / made.far.mean().clamp(min=1e-12))
        if self.beside == "image":
            weight = torch.cat([torch.ones_like(weight[:, :1]), weight], 1)
        extras = {"removed": made.removed}
        if self.share < 1:
            ordinary = (torch.rand(len(images), generator=generator) >= self.share).to(images.device)
            pictures = torch.where(ordinary.view(-1, 1, 1, 1, 1), images[:, None], pictures)
            weight = weight.masked_fill(ordinary[:, None], 1.0)
            extras["ordinary"] = ordinary
        if self.weigh:
            extras["weight"] = weight
        if self.beside == "image":
            extras["image first"] = torch.ones(len(images))
        shown = self.views(pictures.flatten(0, 1), generator).unflatten(0, pictures.shape[:2])
        return Example(inputs=shown, index=batch.index, extras=extras)

    def reads(self) -> str:
        return (imagined if imagined.is_kept(self._place()) else frozen).mark(self._place())

    def doubts(self) -> Sequence[str]:
        place = self._place()
        if imagined.is_kept(place):
            return tuple(imagined.kept(place).about.get("doubts", ()))
        restorer = answerer.kept(place)
        return [*restorer.doubts, *restorer.unseen([self.corruption] if self.corruption else [])]

    def shown(self) -> int:
        return self._count() + (self.beside == "image") if self.choose == "all" else 2

    def caption(self, example: Example, i: int) -> str:
        if "ordinary" in example.extras and example.extras["ordinary"][i]:
            return "ordinary views"
        number = example.inputs.shape[1] - (self.beside == "image")
        own = "the image, and " if self.beside == "image" else ""
        return f"{own}{number} answers to what was left; {float(example.extras['removed'][i]):.0%} was removed"

    def _count(self) -> int:
        """How many answers to an image are needed."""
        least = 1 if self.beside == "image" else 2
        if self.choose == "random":
            return least
        if self.answers is not None:
            return self.answers
        return imagined.kept(self._place()).count if imagined.is_kept(self._place()) else CHOSEN_FROM

    def _place(self) -> str:
        if not self.restorer:
            raise UserError("Whose views? Name a run of `selfsight pretrain --task Restore`: --restorer runs/g.")
        return self.restorer

    def _answers(self, batch: Batch, generator: Generator) -> Answers:
        if not imagined.is_kept(self._place()):
            restorer = answerer.kept(self._place())
            corruption = self.corruption or restorer.corruption
            return imagine(restorer, corruption, batch.images, self._count(), generator, self.precision, self.weigh > 0)
        kept = imagined.kept(self._place())
        if self.corruption is not None:
            raise UserError(
                f"{self.restorer} holds answers to what {kept.about['corruption']} left: name no other corruption, or "
                "the run of the restorer in place of its answers."
            )
        wanted, among = self._count(), self.answers or kept.count
        if max(wanted, among) > kept.count:
            raise UserError(f"{self.restorer} holds {kept.count} answers to each image, not {max(wanted, among)}.")
        which = torch.rand(len(batch.images), among, generator=generator).argsort(1)[:, :wanted]
        return kept.at(batch.images, batch.index, which)


def imagine(
    restorer: Answerer,
    corruption: Corruption,
    images: Tensor,
    k: int,
    generator: Generator,
    precision: Precision = "auto",
    judge: bool = True,
) -> Answers:
    """k answers to what a corruption leaves of images (N, C, S, S) uint8. How far they are is found where `judge`, else
    it is 0. Raises UserError where the restorer was trained on other pictures."""
    restorer.require(images)
    seed, seeds = int(torch.randint(SEEDS, (1,), generator=generator)), restorer.stack.seeds(len(images), k, generator)
    taken = corruption(images.float() / 255, Generator().manual_seed(seed))
    answers = (restorer.answered(taken, seeds, precision) * 255).round().byte()
    left = (taken.images * 255).round().byte()
    if not judge:
        return Answers(answers, left, taken.images.new_zeros(len(images), k), taken.removed)
    again = [corruption(one.float() / 255, Generator().manual_seed(seed)).images for one in answers.unbind(1)]
    far = torch.stack([(one - taken.images).square().mean((1, 2, 3)) for one in again], 1)
    return Answers(answers, left, far, taken.removed)
