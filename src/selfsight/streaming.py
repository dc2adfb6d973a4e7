"""Training on a stream, by the program's own steps, with some batches kept aside: what was learned holds there, or not.

Shapes: N examples in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean as mean
from typing import Any

import torch

from selfsight.case import Case, Trial
from selfsight.instruments.calls import Slot
from selfsight.instruments.clock import Allowance
from selfsight.instruments.nest import joined, rows, taken
from selfsight.instruments.reach import Answer, Tail, Unreachable

SECONDS = 8.0
"""Longest time of one training."""
ROUNDS = 100
"""Most passes over the batches that are learned from."""
PIECE, PIECES = 4, 32
"""Examples in a piece that is kept aside, and the most pieces."""
CLEAR = 0.5
"""Progress aside at which a training is ended: it has shown that it learns."""
FEW = 6
"""Batches that the constant answer is found on."""
LOOKS = 12
"""How often the batches aside are judged."""


@dataclass(frozen=True)
class Stream:
    """One training, judged again and again on what it learned from and on what was kept aside."""

    learned: list[float]
    """Mean loss on the last batches learned from, at each look."""
    aside: list[list[float]]
    """Loss of each piece that was kept aside, at each look."""
    constant_learned: float
    constant_aside: list[float]
    """The best constant answer's loss on the pieces aside; the answer is found on what was learned from."""
    free: float
    """The least loss there is, over what was learned from."""
    steps: int
    """Steps made."""

    def gained(self, look: int) -> float:
        """Progress aside at a look: 0 at the constant, 1 at the least loss."""
        room = mean(self.constant_aside) - self.free
        return (mean(self.constant_aside) - mean(self.aside[look])) / room if room > 0 else math.nan

    @property
    def best(self) -> int:
        """The look at which the pieces aside were answered best."""
        return min(range(len(self.aside)), key=lambda look: sum(self.aside[look]))

    @property
    def fitted(self) -> float:
        """Progress on what was learned from, at the end."""
        room = self.constant_learned - self.free
        return (self.constant_learned - min(self.learned)) / room if room > 0 else math.nan


class TooFew(Exception):
    """Why there can be no stream."""


def stream(case: Case, batches: list[Any], seconds: float = SECONDS, factor: float = 1.0, decay: float = 1.0) -> Stream:
    """Trains a fresh model on the first two thirds of `batches`, over and over, and judges it on the rest.

    factor, decay: what every learning rate and every weight decay is multiplied by while a step is made.
    Raises TooFew, Unreachable, or what the program raises.
    """
    cut = len(batches) * 2 // 3
    if len(batches) < 6 or any(rows(batch) is None for batch in batches):
        raise TooFew("there are too few batches in a pass, or they cannot be parted")
    learned, aside = batches[:cut], [piece for batch in batches[cut:] for piece in pieces(batch)][:PIECES]
    constants, free = constants_of(case, learned)
    model = case.model()
    said = [constant_loss(case, model, piece, constants) for piece in aside]
    mine = [constant_loss(case, model, batch, constants) for batch in learned[:4]]
    trial, looks, seen, allowed = case.begin(), list[float](), list[list[float]](), Allowance(seconds)
    _scale(trial.optimizer, {"lr": factor, "weight_decay": decay})
    total, made = cut * ROUNDS, 0
    marks = {round(total * (i / LOOKS) ** 2) for i in range(1, LOOKS + 1)}
    for made in range(1, total + 1):
        case.step(trial, learned[(made - 1) % cut], made)
        if made in marks or allowed.over:
            looks.append(sum(judged(case, trial, batch) for batch in learned[:4]) / min(4, cut))
            seen.append([judged(case, trial, piece) for piece in aside])
            if mean(said) - mean(seen[-1]) > CLEAR * (mean(said) - free):
                break  # it learns, and nobody asks for more
        if allowed.over:
            break
    return Stream(looks, seen, mean(mine), said, free, made)


def _scale(optimizer: torch.optim.Optimizer, factors: dict[str, float]) -> None:
    """Multiplies settings just for the optimizer's own step, so that no schedule of the program's is disturbed."""
    changed = {name: factor for name, factor in factors.items() if factor != 1.0}
    before: list[dict[str, Any]] = []

    def multiply(used: torch.optim.Optimizer, *_: Any) -> None:
        before[:] = [{name: group[name] for name in changed if name in group} for group in used.param_groups]
        for group, kept in zip(used.param_groups, before, strict=True):
            group.update({name: value * changed[name] for name, value in kept.items()})

    def put_back(used: torch.optim.Optimizer, *_: Any) -> None:
        for group, kept in zip(used.param_groups, before, strict=True):
            group.update(kept)

    if changed:
        optimizer.register_step_pre_hook(multiply)
        optimizer.register_step_post_hook(put_back)


def pieces(batch: Any) -> list[Any]:
    """A batch in pieces of a few examples, so that there are enough of them to compare."""
    count = rows(batch) or 0
    return [taken(batch, range(start, start + PIECE)) for start in range(0, count - PIECE + 1, PIECE)] or [batch]


def judged(case: Case, trial: Trial, batch: Any) -> float:
    """The loss of a batch under a model in its mode for answers, without changing it."""
    modes = [(module, module.training) for module in trial.model.modules()]
    trial.model.eval()
    value = case.value(trial.model, batch)
    for module, training in modes:
        module.training = training
    return value


def constants_of(case: Case, learned: list[Any]) -> tuple[dict[Slot, Any], float]:
    """The best constant outputs over the first batches that are learned from, one row each; the least loss there."""
    whole = joined(learned[:FEW])
    tail = Tail(lambda model, batch: case.loss(model, batch, None), case.model(), whole)
    answers: Callable[..., Answer] = tail.least
    found = answers(constant=True)
    return {slot: value[:1] for slot, value in found.outputs.items()}, answers().loss


def constant_loss(case: Case, model: Any, batch: Any, constants: dict[Slot, Any]) -> float:
    tail = Tail(lambda net, given: case.loss(net, given, None), model, batch)
    if set(tail.slots) != set(constants):
        raise Unreachable("the model is called in another way from batch to batch")
    return float(tail({slot: constants[slot].expand_as(value) for slot, value in tail.slots.items()}).detach())


def at_rate(case: Case, factor: float) -> Stream:
    """The stream of the case's own batches with every rate multiplied, trained once for whoever asks."""
    return case.remembered(("stream", factor), lambda: stream(case, case.batches, factor=factor))


def without_decay(case: Case) -> Stream | None:
    """The stream of the case's own batches without weight decay; None where there is none to leave out."""
    if not any(group.get("weight_decay") for group in case.begin().optimizer.param_groups):
        return None
    return case.remembered(("stream", "no decay"), lambda: stream(case, case.batches, decay=0.0))


def streamed(case: Case) -> Stream:
    """The stream of the case's own batches, trained once for whoever asks."""
    return case.remembered("stream", lambda: stream(case, case.batches))
