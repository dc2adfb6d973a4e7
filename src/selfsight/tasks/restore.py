"""Restore: put back what was taken from this picture, several ways.

Conditional IMLE (Li, Zhang, Peng, Malik 2020, "Multimodal Image Synthesis with Conditional Implicit Maximum Likelihood
Estimation", section 3): each picture draws codes, the answer nearest to the truth is kept, and only that one is brought
nearer. `selection.py` says how codes are chosen, `codes.py` how they are remembered. We depart in that the encoder's
embedding of what is left joins each code in the mapping network, so that there is something to learn for the encoder;
and in the unit, which is the distance of what is left once the change that is usual in the batch was made to it:
whoever cannot tell one picture from another has 1.

The shortcut it invites is that of all restoring: most of a picture follows from the pixels beside it, without an idea
of what is shown. Corruptions that leave little (decolour+downsample) leave little of it.

Shapes: N images, V = 1, C channels, S side, L levels, K codes a level.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.codes import CodeCache, Refresh
from selfsight.corruption import Corrupted, Corruption, kinds
from selfsight.corruptions import Chain, Decolour, Downsample
from selfsight.distance import Distance, Gauge
from selfsight.distances import Pixels
from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.findings import APART, NEAREST, RANDOM
from selfsight.images.views import Views
from selfsight.maths.distances import sharpness, spread
from selfsight.restorer import SEEDS, Restorer, Stack
from selfsight.restorers import CamNet
from selfsight.seeds import generator
from selfsight.selection import Selection
from selfsight.task import Constant, Model, Task, flat

STRIDE = 48_271
"""Between the seeds of a picture's candidates: far enough that no two pictures of a batch share many."""
HALF = 2**16
"""What seeds are told in: below 2^31, they are more than 32-bit floats hold exactly."""
JUDGED = 8
"""Answers to a picture by which a trained restorer is judged, their codes drawn as whoever uses it draws them."""
LEAST = 1e-6
"""No distance counts as less, where nothing was taken away."""
LEAST_UNIT = 1e-5
"""No unit of the loss is less, as where no picture of a batch was hit: a change by .003 of full brightness."""


@functools.lru_cache(maxsize=4)
def gauge(distance: Distance, channels: int) -> Gauge:
    """The built distance: one for all steps, and no part of the model, as nothing in it is trained."""
    return distance.build(channels)


@dataclass(frozen=True, kw_only=True)
class Restore(Task):
    """Good for a generator of views, and where several answers are as right. Poor as a first task for an encoder: most
    of what it asks is of detail."""

    corruption: Corruption = Chain(corruptions=(Decolour(), Downsample()))
    """What is taken away; on the command line --corruption decolour+downsample."""
    restorer: Restorer = CamNet()
    """What puts it back."""
    distance: Distance = Pixels()
    """How far an answer is from the truth: Pixels, Features of an earlier run's encoder, LPIPS with your weights."""
    selection: Selection = Selection()
    """How many codes are drawn for each image, and which one is trained on."""
    remember: Refresh | None = None
    """Keep each image's codes between visits; then each image is cut and corrupted alike at every visit."""
    memory: int = 100_000
    """Images whose codes are remembered, at 70 bytes each; more share their places. At least 1."""
    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the corruption."""

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(f"memory is a number of images, at least 1, not {self.memory}")
        self.suited()  # what it cannot do is said at once

    def suited(self) -> Restorer:
        """The restorer, settled for the corruption where its fields leave something open."""
        return self.restorer.suited(self.corruption.hides())

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        if getattr(self.restorer, "predicts", "") == "colour" and "Decolour" not in kinds(self.corruption):
            raise UserError(
                "Predicts colour leaves lightness as it is, for corruptions that take colour away, and "
                f"{type(self.corruption).__name__} does not: take auto."
            )
        gauge.cache_clear()  # an earlier training in this process may have read what has changed since
        gauge(self.distance, encoder.channels)  # what it lacks is said before the training
        stack = self.suited().build(encoder.channels, encoder.size, encoder.dim, int(torch.randint(SEEDS, (1,))))
        codes = {"codes": CodeCache(self.memory, stack.levels, self.remember)} if self.remember else {}
        return {"restorer": stack, **codes}

    def prepare(self, batch: Batch, now: Now) -> Example:
        draws = [generator("alike", int(i)) for i in batch.index] if self.remember else [now.generator]
        truths, done = list[Tensor](), list[Corrupted]()
        for images, draw in zip(batch.images.chunk(len(draws)), draws, strict=True):
            truths.append(self.views(images, draw))
            done.append(self.corruption(truths[-1], draw))
        left, where, removed = (torch.cat([getattr(one, x) for one in done]) for x in ("images", "where", "removed"))
        seed = torch.randint(SEEDS, (len(left),), generator=now.generator)
        extras = {"truth": torch.cat(truths), "where": where, "removed": removed, "seed": seed}
        return Example(left.unsqueeze(1), batch.index, extras["truth"], extras)

    def predict(self, model: Model, example: Example) -> Prediction:
        stack = cast(Stack, model.parts["restorer"])
        left = flat(example).to(next(stack.parameters()))
        z = model.encoder(left)
        seeds, told = self._chosen(model, example, z.detach())
        answers = stack(stack.with_holes(left, example.extras["where"]), stack.codes(seeds), z)
        pairs = zip(answers, stack.pictures(left), strict=True)
        changes = {f"change {l}": answer - shown for l, (answer, shown) in enumerate(pairs)}
        # in halves, each a whole number below 2^16: mixed precision hands every prediction on in 32 bits
        return {**changes, "seeds": torch.stack([seeds // HALF, seeds % HALF], 2).to(left.device).float(), **told}

    def _chosen(self, model: Model, example: Example, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One seed a level for each picture (N, L); who tried, and how far the nearest and the mean answer were."""
        stack = cast(Stack, model.parts["restorer"])
        left, truth = (images.to(next(stack.parameters())) for images in (flat(example), example.extras["truth"]))
        count = max(self.selection.tried(stack.levels))
        place = torch.arange(1, 1 + stack.levels * count).view(stack.levels, count)
        fresh = (example.extras["seed"].cpu()[:, None, None] + STRIDE * place) % SEEDS
        due = torch.ones(len(left), dtype=torch.bool)
        known, before = torch.zeros_like(due), fresh[:, :, 0]
        seeds, told = before.clone(), left.new_zeros(len(left), 2)
        if self.remember:
            cache = cast(CodeCache, model.parts["codes"])
            due, seeds, fresh = (
                cache.due(example.index).cpu(),
                cache.kept(example.index),
                cache.candidates(example.index, fresh),
            )
            known, before = cache.knows(example.index).cpu() & due, seeds.clone()
        if due.any():
            rows, far = due.to(left.device), gauge(self.distance, left.shape[1]).to(left.device)
            shown = stack.with_holes(left[rows], example.extras["where"][rows])
            chosen = self.selection(stack, far, shown, truth[rows], fresh[due], z[rows])
            seeds[due], told[rows] = chosen.seeds, torch.stack([chosen.least.sum(1), chosen.mean.sum(1)], 1).to(told)
        tried = {"tried": due.to(told), "least": told[:, 0], "mean": told[:, 1]}
        if self.remember:
            tried |= {"again": known.to(told), "changed": ((seeds != before).any(1) & known).to(told)}
        return seeds, tried

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        far, unit = self._distances(prediction, example)
        n = len(far)  # of which each has a share in the mean that it is held against: n / (n - 1), as in a variance
        usual = (unit.detach().sum(1).mean() * n / max(1, n - 1)).clamp(min=LEAST_UNIT)
        loss = far.sum(1).mean() / usual
        tried = (prediction["tried"] > 0.5).float()
        least, mean = ((prediction[name].detach() * tried).sum().float() for name in ("least", "mean"))
        told = {"explained": 1 - loss.detach(), "differ": (mean - least) / mean.clamp(min=LEAST), "tried": tried.mean()}
        share = usual * tried.sum().clamp(min=1)  # all are 0 where nobody tried
        told |= {"nearest": least / share, "random": mean / share, "removed": example.extras["removed"].float().mean()}
        if "again" in prediction:
            again, changed = (prediction[name].detach().float() for name in ("again", "changed"))
            told["changed"] = changed.sum() / again.sum().clamp(min=1)
        return Outcome(loss, told)

    def _distances(self, prediction: Prediction, example: Example) -> tuple[Tensor, Tensor]:
        """Of the answers, and of what is left with the batch's mean change made, from the truth: (N, L) both."""
        left, truth = flat(example), example.extras["truth"]
        judge, rows = gauge(self.distance, left.shape[1]).to(left.device), list[tuple[Tensor, Tensor]]()
        while f"change {len(rows)}" in prediction:
            change = prediction[f"change {len(rows)}"]
            change = change.to(torch.promote_types(change.dtype, torch.float32))
            shown, wanted = (F.adaptive_avg_pool2d(images.to(change), change.shape[-1]) for images in (left, truth))
            usual = shown + (wanted - shown).mean(0)
            pairs = torch.stack([shown + change, usual.expand_as(shown)], 1)
            rows.append(judge(pairs, wanted).unbind(1))
        return torch.stack([row[0] for row in rows], 1), torch.stack([row[1] for row in rows], 1)

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        if self.remember:
            cache = cast(CodeCache, model.parts["codes"])
            far, _ = self._distances(prediction, example)
            high, low = prediction["seeds"].long().unbind(2)
            cache.update(example.index, high * HALF + low, far, prediction["tried"] > 0.5)

    @torch.no_grad()
    def judged(self, model: Model, images: Tensor) -> dict[str, float]:
        """How near, far apart and sharp answers are, distances in units of that of what was left; of a restorer without
        codes nothing, as it gives one answer on purpose, nor where nothing was taken away."""
        stack = cast(Stack, model.parts["restorer"])
        if not any(stack.lengths):
            return {}
        truth = images.to(next(stack.parameters())) / 255
        done = self.corruption(truth, generator("judged", "taken"))
        left, shown = done.images, stack.with_holes(done.images, done.where)
        seeds, z = stack.seeds(len(left), JUDGED, generator("judged", "ways")), model.encoder(left)
        answers = torch.stack([stack(shown, stack.codes(seeds[:, :, k]), z)[-1].float() for k in range(JUDGED)], 1)
        judge = gauge(self.distance, left.shape[1]).to(left.device)
        far, unit = judge(answers, truth), judge(left[:, None], truth).mean()
        if unit < 10 * LEAST:
            return {}
        return {
            NEAREST: float(far.amin(1).mean() / unit),
            RANDOM: float(far.mean() / unit),
            APART: float(spread(answers, judge).mean() / unit),
            "sharpness (1: as the pictures)": float(sharpness(answers, truth).mean()),
        }

    def constant(self, n: int) -> Constant:
        return Constant(1.0, "about 1: the change that is usual in the batch, made to every picture")

    def usual_batch(self) -> int:
        """Few, and many steps: pictures are not compared with one another."""
        return 32

    def question(self) -> str:
        return "What could this picture have been, before this was done to it?"

    def caption(self, example: Example, i: int) -> str:
        return f"{float(example.extras['removed'][i]):.0%} removed, and the truth"
