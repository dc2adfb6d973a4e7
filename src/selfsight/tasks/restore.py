"""Restore: put back what was taken from this picture, several ways.

Conditional IMLE (Li, Zhang, Peng, Malik 2020, "Multimodal Image Synthesis with Conditional Implicit Maximum Likelihood
Estimation", section 3): each picture draws codes, the answer nearest to the truth is kept, and only that one is brought
nearer. `selection.py` says how codes are chosen, `codes.py` how they are remembered. We depart in that the encoder's
embedding of what is left joins each code in the mapping network, so that there is something to learn for the encoder;
and in the unit: the loss is the distance of what is left, so that whoever gives back what it was shown has 1.

The shortcut it invites is that of all restoring: most of a picture follows from the pixels beside it, without an idea
of what is shown. Corruptions that leave little (decolour+downsample) leave little of it.

Shapes: N images, V = 1, C channels, S side, L levels, K codes a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.codes import CodeCache, Refresh
from selfsight.corruption import Corrupted, Corruption
from selfsight.corruptions import Chain, Decolour, Downsample
from selfsight.distance import Distance, Gauge
from selfsight.distances import Pixels
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.restorer import SEEDS, Restorer, Stack
from selfsight.restorers import CamNet
from selfsight.seeds import generator
from selfsight.selection import Selection
from selfsight.task import Constant, Model, Task, flat

STRIDE = 48_271
"""Between the seeds of a picture's candidates: far enough that no two pictures of a batch share many."""
LEAST = 1e-6
"""No distance counts as less, where nothing was taken away."""


@dataclass(frozen=True, kw_only=True)
class Restore(Task):
    """Good for a generator of views, and where several answers are as right. Poor as a first task for an encoder: most
    of what it asks is of detail."""

    corruption: Corruption = Chain(corruptions=(Decolour(), Downsample()))
    """What is taken away; on the command line --corruption decolour+downsample."""
    restorer: Restorer = CamNet()
    """What puts it back."""
    distance: Distance = Pixels()
    """How far an answer is from the truth. Features looks through the encoder as it is at the start: give it
    --encoder.weights of an earlier run."""
    selection: Selection = Selection()
    """How many codes are drawn for each image, and which one is trained on."""
    remember: Refresh | None = None
    """Keep each image's codes between visits; then each image is cut and corrupted alike at every visit."""
    memory: int = 100_000
    """Images whose codes are remembered, at 50 bytes each; more share their places. At least 1."""
    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before the corruption."""

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(f"memory is a number of images, at least 1, not {self.memory}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        stack = self.restorer.build(encoder.channels, encoder.size, encoder.dim, int(torch.randint(SEEDS, (1,))))
        made: dict[str, nn.Module] = {"restorer": stack, "gauge": self.distance.build(encoder.channels, encoder)}
        if self.remember:
            made["codes"] = CodeCache(self.memory, stack.levels, self.remember)
        return made

    def prepare(self, batch: Batch, now: Now) -> Example:
        draws = [generator("alike", int(i)) for i in batch.index] if self.remember else [now.generator]
        truths, done = list[Tensor](), list[Corrupted]()
        for images, draw in zip(batch.images.chunk(len(draws)), draws, strict=True):
            truths.append(self.views(images, draw))
            done.append(self.corruption(truths[-1], draw))
        left, removed = (torch.cat([getattr(one, name) for one in done]) for name in ("images", "removed"))
        seed = torch.randint(SEEDS, (len(left),), generator=now.generator)
        extras = {"truth": torch.cat(truths), "removed": removed, "seed": seed}
        return Example(left.unsqueeze(1), batch.index, extras["truth"], extras)

    def predict(self, model: Model, example: Example) -> Prediction:
        stack, gauge = cast(Stack, model.parts["restorer"]), cast(Gauge, model.parts["gauge"])
        left, truth = flat(example), example.extras["truth"]
        z = model.encoder(left)
        seeds, told = self._chosen(model, example, z.detach())
        answers = stack(left, stack.codes(seeds), z)
        pairs = list(zip(answers, stack.pictures(left), stack.pictures(truth), strict=True))
        far = [gauge(answer.unsqueeze(1), wanted)[:, 0] for answer, _, wanted in pairs]
        unit = [gauge(shown.unsqueeze(1), wanted)[:, 0] for _, shown, wanted in pairs]
        return {"distance": torch.stack(far, 1), "unit": torch.stack(unit, 1), "seeds": seeds.double(), **told}

    def _chosen(self, model: Model, example: Example, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One seed a level for each picture (N, L); who tried, and how far the nearest and the mean answer were."""
        stack, gauge = cast(Stack, model.parts["restorer"]), cast(Gauge, model.parts["gauge"])
        left, truth, cache = flat(example), example.extras["truth"], model.parts["codes"] if self.remember else None
        count = max(self.selection.tried(stack.levels))
        place = torch.arange(1, 1 + stack.levels * count).view(stack.levels, count)
        fresh = (example.extras["seed"].cpu()[:, None, None] + STRIDE * place) % SEEDS
        if cache is None:
            chosen = self.selection(stack, gauge, left, truth, fresh, z)
            told = {"tried": torch.ones_like(chosen.least[:, 0])}
            return chosen.seeds, {**told, "least": chosen.least.sum(1), "mean": chosen.mean.sum(1)}
        cache = cast(CodeCache, cache)
        due, seeds = cache.due(example.index), cache.kept(example.index)
        least, mean = (left.new_zeros(len(left)) for _ in range(2))
        if due.any():
            fresh, rows = cache.candidates(example.index, fresh)[due.cpu()], due.to(left.device)
            chosen = self.selection(stack, gauge, left[rows], truth[rows], fresh, z[rows])
            seeds[due.cpu()], least[rows], mean[rows] = chosen.seeds, chosen.least.sum(1), chosen.mean.sum(1)
        return seeds, {"tried": due.to(least), "least": least, "mean": mean}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        loss = prediction["distance"].float().sum(1).mean() / prediction["unit"].float().sum(1).mean().clamp(min=LEAST)
        measures = {"explained": 1 - loss.detach()}
        tried = prediction["tried"] > 0.5
        if tried.any():
            least, mean = (prediction[name].detach()[tried].float().mean() for name in ("least", "mean"))
            measures["differ"] = 1 - least / mean.clamp(min=LEAST)
        return Outcome(loss, measures)

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        if self.remember:
            cache = cast(CodeCache, model.parts["codes"])
            due = prediction["tried"] > 0.5
            cache.update(example.index, prediction["seeds"].long(), prediction["distance"], due)

    def constant(self, n: int) -> Constant:
        return Constant(1.0, "1: what is left, given back as it is")

    def question(self) -> str:
        return "What could this picture have been, before this was done to it?"

    def caption(self, example: Example, i: int) -> str:
        return f"{float(example.extras['removed'][i]):.0%} removed, and the truth"
