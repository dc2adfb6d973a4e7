"""Saliency: say this picture mask by mask, each time what the masks before have left over.

The three mask models of a journal of variable-length embeddings (2023), with its losses as fields, and their defect. A
mask is drawn, the encoder sees what it lets through, a decoder answers, and the answers add up. Nothing makes the masks
compose the picture: they are held apart by exp(-5 mean((a - b)^2)), which is least where one mask is full and the next
empty, in turn. That is the optimum of the loss and no accident of a training; `Decompose` asks for masks that cannot
do so. The task is here to be examined: the doctor's R702 says what became of its masks, and whether the loss wanted it.

We depart in the unit of errors, which is the deviation of the batch's pictures, so that the mean picture costs 1; and
in that the best constant answer is then known.

Shapes: N images, V = 1, T masks, C channels, S side.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.decoder import Decoder
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.masker import Masker
from selfsight.task import Constant, Model, Task, flat

LEAST = 1e-6


def alike(a: Tensor, b: Tensor) -> Tensor:
    """exp(-5 mean((a - b)^2)) over batch and pixels, as the journal has it: 1 where equal, e^-5 where opposite."""
    return torch.exp(-5 * (a - b).square().mean())


@dataclass(frozen=True, kw_only=True)
class Saliency(Task):
    """Good to see how masks collapse, and that a loss can want it. Poor for taking pictures apart: see Decompose."""

    model: Literal["saliency", "inherent", "constructor"] = "saliency"
    """Whose masks: a net's that sees what is left, before the encoder does; the decoder's own last channel, after; or
    the net's, which also sees what is there already, and a net adds the answer to that instead of a sum."""
    turns: int = 4
    """T, masks drawn one after another. At least 2."""
    shown: Literal["residual", "masked residual", "masked image"] = "masked residual"
    """What the encoder sees: what is left over, or that or the picture through the mask (inherent: always the
    residual)."""
    apart: float = 1.0
    """Weight of `alike` of each mask and the sum of those before it."""
    previous: float = 0.0
    """Weight of `alike` of each mask and the one before it."""
    filled: float = 0.0
    """Weight of `alike` of each mask and nothing: the journal's later form has 1."""
    binary: float = 0.0
    """Weight of the mean of 4 m (1 - m), which is 0 where masks are 0 or 1."""
    smooth: float = 0.0
    """Weight of the mean difference of neighbouring pixels of a mask."""
    clamp: bool = True
    """The sum of masks goes through tanh(3 x), so that it stays below 1."""
    steepness: float = 1.0
    """Of the sigmoid at the end of the training, from 1 at its start; at least 1."""
    inverse: bool = False
    """The net also sees where no mask has been."""
    auxiliary: float = 0.0
    """Weight of each answer's own error within its mask."""
    blocks: int = 2
    """Residual blocks of the net that draws masks. At least 1."""
    width: int = 16
    """Its channels. At least 1."""
    memory: bool = False
    """It remembers what it drew before, by a convolutional LSTM."""
    decoder: Decoder = Decoder(width=32)
    """What makes a picture of what the encoder saw."""
    views: Views = Views(crop=(0.5, 1.0)).gentle()
    """What is changed before."""

    def __post_init__(self) -> None:
        for name, least in {"turns": 2, "steepness": 1, "blocks": 1, "width": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)}")
        for name in ("apart", "previous", "filled", "binary", "smooth", "auxiliary"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a weight, 0 or more, not {getattr(self, name)}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        channels, inherent = encoder.channels, self.model == "inherent"
        parts: dict[str, nn.Module] = {"decoder": self.decoder.build(encoder, channels + inherent)}
        if not inherent:
            given = channels * (2 if self.model == "constructor" else 1) + self.inverse
            parts["masker"] = Masker(given, self.width, self.blocks, self.memory)
        if self.model == "constructor":
            parts["constructor"] = Masker(2 * channels, self.width, 1, False, out=channels)
        return parts

    def prepare(self, batch: Batch, now: Now) -> Example:
        truth = self.views(batch.images, now.generator)
        steep = torch.full((len(truth),), 1 + (self.steepness - 1) * now.share, device=truth.device)
        return Example(truth.unsqueeze(1), batch.index, truth, {"steepness": steep})

    def predict(self, model: Model, example: Example) -> Prediction:
        truth, parts = flat(example).to(next(model.parameters()).dtype), model.parts
        steep = example.extras["steepness"][:, None, None, None].to(truth)
        rebuilt, before, memory = torch.zeros_like(truth), [torch.zeros_like(truth[:, :1])], None
        logits, answers = list[Tensor](), list[Tensor]()
        for _ in range(self.turns):
            left = truth - rebuilt
            if self.model == "inherent":
                z, seen = model.encoder.with_map(0.5 + left / 2)
                answer, logit = parts["decoder"](z, seen, left).split([truth.shape[1], 1], 1)
                mask = (steep * logit).sigmoid()
            else:
                given = [truth, rebuilt] if self.model == "constructor" else [left]
                logit, memory = parts["masker"](
                    torch.cat([*given, *([1 - self._sum(before)] if self.inverse else [])], 1), memory
                )
                mask = (steep * logit).sigmoid()
                z, seen = model.encoder.with_map(self._let_through(truth, left, mask))
                answer = parts["decoder"](z, seen, left)
            added = mask * answer
            if self.model == "constructor":
                added = added + parts["constructor"](torch.cat([added, rebuilt], 1), None)[0]
            rebuilt, before = rebuilt + added, [*before, mask]
            logits.append(logit)
            answers.append(added)
        return {"logits": torch.cat(logits, 1), "answers": torch.stack(answers, 1)}

    def _let_through(self, truth: Tensor, left: Tensor, mask: Tensor) -> Tensor:
        if self.shown == "masked image":
            return truth * mask
        return 0.5 + (left if self.shown == "residual" else mask * left) / 2

    def _sum(self, masks: list[Tensor]) -> Tensor:
        total = torch.stack(masks).sum(0)
        return torch.tanh(3 * total) if self.clamp else total

    def masks(self, prediction: Prediction, example: Example) -> Tensor:
        """(N, T, S, S) in [0, 1]."""
        logits = prediction["logits"].to(torch.promote_types(prediction["logits"].dtype, torch.float32))
        return (example.extras["steepness"][:, None, None, None].to(logits) * logits).sigmoid()

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        kind = torch.promote_types(prediction["answers"].dtype, torch.float32)
        truth, answers = flat(example).to(kind), prediction["answers"].to(kind)
        masks = self.masks(prediction, example)
        unit = truth.var(0, correction=min(1, len(truth) - 1)).mean().clamp(min=LEAST)
        final = (answers.sum(1) - truth).square().mean() / unit
        loss = final + self.wish(masks)
        if self.auxiliary:
            own = (masks[:, :, None] * (answers - truth[:, None]).square()).mean((0, 2, 3, 4)) / unit
            loss = loss + self.auxiliary * own.mean()
        return Outcome(loss, {"explained": 1 - final.detach(), "cover": masks.detach().mean()})

    def wish(self, masks: Tensor) -> Tensor:
        """What the loss asks of masks (N, T, S, S) whatever they show: a mean over the T masks of the weighted
        terms."""
        total, before = masks.new_zeros(()), list[Tensor]()
        for mask in masks.unbind(1):
            past = self._sum(before) if before else torch.zeros_like(mask)
            last = before[-1] if before else torch.zeros_like(mask)
            total = total + self.filled * alike(mask, torch.zeros_like(mask)) + self.apart * alike(mask, past)
            total = total + self.previous * alike(mask, last) + self.binary * (4 * mask * (1 - mask)).mean()
            if self.smooth:
                across, down = (mask.diff(dim=d).abs().mean() for d in (-1, -2))
                total = total + self.smooth * (across + down)
            before.append(mask)
        return total / masks.shape[1]

    def constant(self, n: int) -> Constant:
        return Constant(1 + least_wish(self), "1 for the mean picture, and the least that masks alone can cost")

    def question(self) -> str:
        return f"What does this picture show, said by {self.turns} masks and what is seen through each?"

    def caption(self, example: Example, i: int) -> str:
        return "to be said mask by mask"


@functools.lru_cache(maxsize=8)
def least_wish(task: Saliency) -> float:
    """The least of `wish`: over masks that are full or empty in every order, and by descent from noise."""
    turns = min(task.turns, 10)
    orders = torch.tensor([[float(i >> t & 1) for t in range(turns)] for i in range(2**turns)])
    flat = [one[None, :, None, None].expand(1, -1, 2, 2) for one in F.pad(orders, (0, task.turns - turns))]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        noise = [2 * torch.randn(1, task.turns, 4, 4) for _ in range(2)]
        return min(*(float(task.wish(one)) for one in flat), *(_descended(task, one) for one in noise))


def _descended(task: Saliency, start: Tensor) -> float:
    free, best = start.requires_grad_(), float("inf")
    optimizer = torch.optim.Adam([free], lr=0.2)
    for _ in range(150):
        optimizer.zero_grad()
        cost = task.wish(free.sigmoid())
        best = min(best, float(cost.detach()))
        if not cost.requires_grad:
            break
        cost.backward()
        optimizer.step()
    return best
