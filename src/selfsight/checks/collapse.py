"""R701: has the embedding collapsed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from selfsight.case import Case
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.maths.spectrum import spread
from selfsight.observations.likeness import Likeness, NoPairs, agrees_less, finds_less, likeness, pairs, shrunk, width
from selfsight.observations.outside import answered
from selfsight.observations.trained import steps_taken, trained, trained_at
from selfsight.planted import Net, batches, tiny
from selfsight.program import Program

CERTAIN = 1e-3
LEAST = 10
"""Steps; a net that could make fewer is not judged."""
SLOWER = (0.1, 0.01, 0.001)
"""What the rate is multiplied by, to see whether it is what lets views get lost."""
TENTH, THIRD, QUARTER = 1 / 10, 1 / 3, 1 / 4
Pair = tuple[Likeness, Likeness]


@dataclass(frozen=True)
class Collapse(Check):
    """A collapsed net answers the same to every image. It is told from noise, from an offset and from a slow start by
    holding it against itself before training.

    Detected: The program is trained for a while by its own steps. The same images' two views are embedded before and
    after. MEASURED where views are found again less than before (sign test over images, p < 1e-3) and the spread of the
    embedding's directions is less than a tenth of what it was; where half as many are found and the spread is less
    than a third or, where no answers are learned, the rank less than a quarter; where spread or rank is so and one
    answer for all is the loss's optimum; or where views have become no more alike than random pairs (p > .01).
    Where they are found no more than before, and a tenth of the rate or less lets them be found more, it is the rate.
    Spread and rank by a bootstrap over images, everything in train and in eval mode.
    Matters: The loss looks excellent, and the encoder has forgotten what it could tell when it was random.
    Cure: Stop the gradient on one side, restore the term that keeps the embedding spread, or lower the rate.
    Blind: Collapses that take longer than the training here, and those of a head behind an embedding that keeps well.
    Rank alone is no evidence: tight clusters, strong augmentation and supervised nets have little of it.
    """

    code = "R701"
    title = "Has the embedding collapsed?"
    needs = ("views",)
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            before = {mode: likeness(*pairs(case, case.model(), mode)) for mode in (True, False)}
            model = trained(case).model
            if steps_taken(case) < LEAST:
                raise DoesNotApply("its steps take too long to train it for a while")
            both = [(likeness(*pairs(case, model, mode)), before[mode]) for mode in (True, False)]
        except NoPairs as why:
            raise DoesNotApply(str(why)) from why
        sentence = _estranged(both) or _shrivelled(case, both)
        if (sentence or _unlearned(both)) and not _content(case):
            slower = _slower(case, both)
            if slower is not None:
                yield self._too_fast(case, both[1], *slower)
                return
        if sentence is None:
            return
        (now, then), (component, cause, cure) = both[1], _cause(case, strange=_estranged(both) is not None)
        yield Finding(
            code=self.code, grade=Grade.MEASURED, component=component, cause=cause, cure=cure,
            sentence=f"After {steps_taken(case)} steps {sentence}.", place=of_code(case.program.loss, "loss"),
            evidence={
                "found_before": float(then.hits.mean()), "found_after": float(now.hits.mean()), "p_after": now.p,
                "rank_before": then.rank, "rank_after": now.rank, "spread_before": then.spread,
                "spread_after": now.spread,
            },
        )  # fmt: skip

    def _too_fast(self, case: Case, own: Pair, factor: float, then: Likeness) -> Finding:
        (now, before), steps = own, steps_taken(case)
        return Finding(
            code=self.code, grade=Grade.MEASURED, component="optimizer", cause="rate-too-large",
            sentence=f"After {steps} steps {now.hits.mean():.0%} of views find their other view, "
            f"{before.hits.mean():.0%} before training; after as many at the rate times {factor:g} "
            f"{then.hits.mean():.0%} do.",
            cure=f"Multiply the learning rate by {factor:g}, then search around it.",
            place=of_code(case.program.optimizer, "optimizer"),
            evidence={
                "found_before": float(before.hits.mean()), "found_after": float(now.hits.mean()),
                "found_slower": float(then.hits.mean()), "factor": factor,
            },
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def attract(model: nn.Module, batch: Any) -> Tensor:
            return -cosine_similarity(model(batch[0]), model(batch[1])).mean()

        def contrast(model: nn.Module, batch: Any) -> Tensor:
            z1, z2 = (normalize(model(view)) for view in batch)
            return cross_entropy(z1 @ z2.T / 0.2, torch.arange(len(z1)))

        return _joint(attract), _joint(contrast)


def _unlearned(both: list[Pair]) -> bool:
    """Whether views are found no more than before any training, in train or in eval mode."""
    return any(finds_less(then, now) > CERTAIN for now, then in both)


def _slower(case: Case, both: list[Pair]) -> tuple[float, Likeness] | None:
    """The first lower rate at which as many steps let views be found more than now, and than before training."""
    for factor in SLOWER:
        model = trained_at(case, factor).model
        after = [likeness(*pairs(case, model, mode)) for mode in (True, False)]
        if all(finds_less(old, new) < CERTAIN for pair, new in zip(both, after, strict=True) for old in pair):
            return factor, after[1]
    return None


def _cause(case: Case, strange: bool) -> tuple[Component, str, str]:
    """(component, cause, cure)."""
    if strange or not _content(case):
        cure = "Lower the rate, or weigh what keeps the embedding spread against what draws views together."
        return "loss", "collapse", cure
    if case.has("teacher"):
        return "teacher", "no-stop-gradient", "Stop the gradient into the teacher's side: no_grad or detach()."
    cure = "One answer for all is this loss's optimum: stop the gradient on one side, or add what keeps outputs apart."
    return "loss", "degenerate-optimum", cure


def _content(case: Case) -> bool:
    """Whether no answers have a lower loss than one answer for all."""
    return not isinstance(case.scale, Unreachable) and not case.scale.wide


def _joint(loss: Any) -> Program:
    def model() -> nn.Module:
        net = Net()
        net.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        return net

    def views() -> Iterator[tuple[Tensor, Tensor]]:
        for pictures, _ in batches():
            yield pictures, pictures + 0.1 * torch.randn_like(pictures)

    return tiny(batches=views, model=model, loss=loss, views=lambda batch: batch, planned_steps=80,
                optimizer=lambda net: torch.optim.Adam(net.parameters(), 1e-2))  # fmt: skip


def _estranged(both: list[Pair]) -> str | None:
    """What is to be said where views have nothing in common any more."""
    for now, then in both:
        if now.p <= 0.01 or then.p >= CERTAIN or agrees_less(now, then) >= CERTAIN:
            return None
    return (
        f"the two views of an image are no more alike than those of different images (p = {both[1][0].p:.2g}), as they "
        f"were before training (p = {both[1][1].p:.2g})"
    )


def _shrivelled(case: Case, both: list[Pair]) -> str | None:
    """What is to be said where the embedding has shrunk to a point or a line."""
    fewer = all(finds_less(*pair) < CERTAIN for pair in both)
    half = all(now.hits.mean() < then.hits.mean() / 2 for now, then in both)
    small, flat = (all(shrunk(*pair, *how) for pair in both) for how in ((spread, THIRD), (width, QUARTER)))
    point = all(shrunk(*pair, spread, TENTH) for pair in both) or (half and small)
    line = half and flat and not answered(case)
    if not ((fewer and (point or line)) or ((small or flat) and _content(case))):
        return None
    now, then = both[1]
    return (
        f"{now.hits.mean():.0%} of views find their other view ({then.hits.mean():.0%} before training), spread went "
        f"from {then.spread:.2g} to {now.spread:.2g}, rank from {then.rank:.1f} to {now.rank:.1f}"
    )
