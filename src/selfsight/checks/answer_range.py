"""L311: can the answer become as sure as the targets ask, or is its scale fixed?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.functions import SHARPENED, argument, bent, ending, sharpened
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Reach, Tail, Unreachable, reach
from selfsight.instruments.snapshot import still
from selfsight.observations.outside import answered
from selfsight.planted import CLASSES, tiny
from selfsight.program import Program
from selfsight.swap import SHARPER, last_modules

OPEN = 0.9
"""A loss that can come this far of the way to the one with logits ten times as large is not held back. Cosines times 10
over ten classes come .999 of it; times 1 .65; over two classes .82; behind a sigmoid, against shares in [0, 1], .84."""
GROWN = 3.0
"""Weights a hundred times as large make free logits at least a hundred times as large."""
ASCENT, RATE = 150, 0.02
"""Steps in which the weights are moved to make the logits as large as they can be, and Adam's rate."""
HOT, OWED = 0.1, 4.0
"""A contrastive loss that can fall by less than a tenth, and by four times as much at a tenth of its temperature, is
too hot. With 8 keys to choose from cosines at a temperature of 1 let it fall by 43 %, at 10 by 5 %."""
SEEK = 0.05
"""Adam's rate over the free logits, which a tanh keeps within the bound."""


@dataclass(frozen=True)
class AnswerRange(Check):
    """A cosine is never larger than 1: as a logit it cannot say more than "perhaps".

    Detected: Where weights a hundred times as large make logits no larger, their scale is fixed; how large they can be
    at most is sought by gradient ascent on the weights. PROVEN where the least loss with free logits of that size lies
    less than .9 of the way from the best constant answer's to the least with ten times their size. Where the answers
    are the other examples (views): PROVEN where the loss can fall by less than a tenth below that of equal embeddings,
    and by four times as much with logits ten times as large.
    Matters: Answers stay near the middle, and the gradient of what is right already drowns that of what is wrong.
    Cure: Multiply the cosines by a learned scale that begins at 10 or so, or divide them by a temperature of 0.1.
    Blind: In contrastive learning temperatures of 1 and less: any of them may be meant. Whether it does harm: where
    only the order of the answers counts, it may not. Source: the journals of an unmixing net; the learned scale is that
    of NormFace (Wang et al. 2017).
    """

    code = "L311"
    title = "Can the answer become as sure as it is asked to be?"

    def look(self, case: Case) -> Iterator[Finding]:
        scale = case.scale
        if isinstance(scale, Unreachable):
            raise DoesNotApply("the loss cannot be followed")
        if not answered(case):
            yield from self._hot(case, scale)
            return
        if not scale.wide or scale.free.endless or not _fixed(case):
            return
        bound = _bound(case)
        kept, sharper = (_least(case, bound, factor) for factor in (1.0, SHARPER))
        constant = _least(case, bound, SHARPER, same=True)
        share = (constant - kept) / max(constant - sharper, 1e-12)
        if share < OPEN:
            member = "predict" if case.has("predict") else "loss"
            yield Finding(
                code=self.code, grade=Grade.PROVEN, component="loss", cause="temperature",
                place=of_code(case.program.predict or case.program.loss, member),
                evidence={"largest_logit": bound, "least": kept, "least_sharper": sharper, "share": share},
                sentence=f"Whatever the weights, the logits stay within {bound:.2f} of zero: the loss cannot fall "
                f"below {kept:.3g}, {share:.0%} of the way from a constant answer to the {sharper:.3g} that logits ten "
                f"times as large allow.",
                cure="Multiply cosines by a learned scale that begins at 10, or divide them by a temperature of 0.1.",
            )  # fmt: skip

    def _hot(self, case: Case, scale: Reach) -> Iterator[Finding]:
        """Answers are the other examples: any temperature may be meant, but not one that leaves nothing to gain."""
        if not case.has("views") or scale.free.endless or scale.constant.loss <= 0 or not scale.wide:
            return

        def sharper(model: nn.Module, batch: Any) -> Tensor:
            with ending(last_modules(case, model, batch), sharpened(SHARPER)):
                return case.loss(model, batch, None)

        try:
            sharp, _ = reach(sharper, case.model(), case.batch)
        except Unreachable:
            return
        own, then = (1 - one.free.loss / one.constant.loss for one in (scale, sharp))
        if own < HOT and then > OWED * own:
            yield Finding(
                code=self.code, grade=Grade.PROVEN, component="loss", cause="temperature",
                place=of_code(case.program.loss, "loss"), evidence={"gain": own, "gain with a tenth": then},
                sentence=f"Whatever the embeddings, the loss can fall by {own:.1%} below that of equal ones; at a "
                f"tenth of the temperature by {then:.0%}.",
                cure="Divide cosines by a temperature of 0.05 to 0.5; it was taken for its inverse, perhaps.",
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def by(factor: float) -> Program:
            def loss(model: nn.Module, batch: Any) -> Tensor:
                return cross_entropy(factor * model(batch[0]), batch[1])

            return tiny(model=_Cosines, loss=loss)

        return by(1.0), by(10.0)


class _Cosines(nn.Module):
    """Class scores as cosines with a vector per class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.classes = nn.Embedding(CLASSES, 16)

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.body(x), dim=1) @ normalize(self.classes(torch.arange(CLASSES)), dim=1).T


def _logits(case: Case, model: nn.Module) -> list[Tensor]:
    """What the functions that take logits are given behind the last weights, without a graph."""
    tail = Tail(lambda net, batch: case.loss(net, batch, None), model, case.batch)
    given = [argument(used, 0, "input") for used in tail.used if used.name in SHARPENED]
    return [logits.detach() for logits in given if isinstance(logits, Tensor) and logits.numel()]


def _fixed(case: Case) -> bool:
    """Whether weights 10 and 100 times as large leave the logits about as large as they were."""
    sizes = []
    for factor in (1.0, 10.0, 100.0):
        model = case.model()
        with still(model):
            with torch.no_grad():
                for weight in model.parameters():
                    weight.mul_(factor if weight.requires_grad else 1.0)
            found = _logits(case, model)
        if not found:
            return False
        sizes.append(max(float(logits.abs().max()) for logits in found))
    return 0 < max(sizes) <= GROWN * sizes[0]


def _bound(case: Case) -> float:
    """The largest logit that gradient ascent on the weights finds on the frozen batch."""
    model, largest = case.model(), 0.0
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], RATE)
    for _ in range(ASCENT):
        seen: list[Tensor] = []

        def keep(logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(logits)
            return logits

        with ending(last_modules(case, model, case.batch), bent(keep)):
            case.loss(model, case.batch)
        sizes = [logits.abs().max() for logits in seen]
        largest = max([largest, *(float(size.detach()) for size in sizes)])
        optimizer.zero_grad()
        (-torch.stack(sizes).sum()).backward()
        optimizer.step()
    return largest


def _least(case: Case, bound: float, factor: float, same: bool = False) -> float:
    """The least loss over all logits within the bound, multiplied by a factor; `same` gives all examples the same."""
    model, free = case.model(), list[Tensor]()

    def value() -> Tensor:
        turn = itertools.count()

        def instead(logits: Tensor) -> Tensor:
            place = next(turn)
            if place == len(free):
                free.append(torch.zeros_like(logits[:1] if same else logits, requires_grad=True))
            return (factor * bound * free[place].tanh()).expand_as(logits)

        with still(model), ending(last_modules(case, model, case.batch), bent(instead)):
            return case.loss(model, case.batch)

    losses = [float(value().detach())]
    optimizer = torch.optim.Adam(free, SEEK)
    for _ in range(ASCENT):
        optimizer.zero_grad()
        loss = value()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return min(losses)
