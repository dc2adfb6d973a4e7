"""L309: does the loss ask its maps to be constant?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.reach import Unreachable
from selfsight.observations.maps import alone, asked, sites
from selfsight.observations.outside import answered
from selfsight.observations.tails import tail_of
from selfsight.planted import batches, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class DegenerateOptimum(Check):
    """Where a loss reads nothing but maps, what it wants of them can be computed without training.

    Detected: Maps (outputs of a sigmoid or softmax for every pixel) are made free. MEASURED where
    on two batches no maps have a lower loss than constant ones, while maps that vary from picture to picture and place
    to place cost more.
    Matters: The better such a net is trained, the less its masks say.
    Cure: Add what only maps of the picture can satisfy, or take away the term that constant maps satisfy best.
    Blind: Maps that are read by further weights, that have targets, or that stand beside other outputs (a picture that
    is painted through them): there a narrow net may still need its masks, and only training shows; see R702.
    """

    code = "L309"
    title = "Does the loss ask its maps to be constant?"

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            tail = tail_of(case, case.batch)
            found = sites(tail)
        except Unreachable as why:
            raise DoesNotApply(f"the loss cannot be followed from free outputs: {why}") from why
        lone = [site for site, made in found.items() if alone(case, tail, site, made)]
        if not lone or answered(case):
            raise DoesNotApply("its loss does not hang on maps alone")
        for site in lone:
            wants = list(asked(case, site))
            if len(wants) == 2 and all(one.degenerate for one in wants):
                levels = ", ".join(f"{level:.2f}" for level in wants[0].levels)
                yield Finding(
                    code=self.code, grade=Grade.MEASURED, component="loss", cause="degenerate-optimum",
                    sentence=f"The loss is least ({wants[0].constant:.4g}) where the maps made here are one number for "
                    f"every picture and pixel ({levels}); maps that vary cost {wants[0].varied:.4g}.",
                    cure="Take away or weaken the term that constant maps satisfy best.", place=site.place,
                    evidence={"constant": wants[0].constant, "varied": wants[0].varied, "free": wants[0].free},
                )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def smooth(model: nn.Module, batch: Any) -> Tensor:
            maps = model(batch[0])
            return maps.diff(dim=3).abs().mean() + (maps * (1 - maps)).mean()

        def bright(model: nn.Module, batch: Any) -> Tensor:
            maps, light = model(batch[0]), batch[0] > 0.5
            return nn.functional.binary_cross_entropy(maps, light.float())

        pieces: dict[str, Any] = {
            "model": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()),
            "batches": lambda: ((x,) for x, _ in batches()),
        }
        return tiny(loss=smooth, **pieces), tiny(loss=bright, **pieces)
