"""R702: do masks say anything?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.reach import Unreachable
from selfsight.instruments.snapshot import still
from selfsight.observations.maps import Preference, Site, State, asked, mapping, sites, state
from selfsight.observations.outside import answered
from selfsight.observations.tails import tail_of
from selfsight.observations.trained import steps_taken, trained
from selfsight.planted import batches, tiny
from selfsight.program import Program

PASS = 4
"""Batches that maps are looked at on."""


@dataclass(frozen=True)
class Masks(Check):
    """Masks learned without masks to learn from tend to end full, empty, or the same for every picture.

    Detected: The program is trained for a while by its own steps. Where each of a set of maps (outputs of a sigmoid or
    softmax for every pixel) has become full, empty or one number everywhere on 95 % of the pictures, and was not so
    before, the loss itself is asked for its least value with constant maps, with maps that vary, and with free ones,
    everything else free. MEASURED where on two batches constant maps are as good as any and varied ones cost more; else
    a NOTE.
    Matters: The loss falls, the pictures come back, and the masks separate nothing.
    Cure: Take away or weaken the term that constant masks satisfy best, for instance a distance between masks.
    Blind: Masks with targets, collapses that take longer than the training here, and masks that are full or empty
    because another term outweighs theirs (a NOTE). It comes from a journal whose masks were to differ from the one
    before and from the sum of all before.
    """

    code = "R702"
    title = "Do masks say anything?"
    quick = False
    narrow = True

    def look(self, case: Case) -> Iterator[Finding]:
        try:
            found = sites(tail_of(case, case.batch))
        except Unreachable as why:
            raise DoesNotApply(f"the loss cannot be followed from free outputs: {why}") from why
        if not found or answered(case):
            raise DoesNotApply("it has targets for its maps" if found else "no output is a map between 0 and 1")
        before = seen(case, case.model(), found)
        after = seen(case, trained(case).model, found)
        _keep(case, trained(case).model, found)
        for site in found:
            now, then = after.get(site), before.get(site)
            if now is not None and then is not None and now.says_nothing and now.words != then.words:
                wants = list(asked(case, site))
                yield self._finding(case, site, now, wants)

    def _finding(self, case: Case, site: Site, now: State, wants: list[Preference]) -> Finding:
        sure = len(wants) == 2 and all(one.degenerate for one in wants)
        sentence = f"After {steps_taken(case)} steps the maps made here are: {now}, whatever the picture."
        if sure:
            sentence += (
                f" The loss itself prefers that: with a perfect rest of the net it falls to {wants[0].constant:.3g} by "
                f"constant maps and to {wants[0].varied:.3g} by maps that vary."
            )
        numbers = {"constant": wants[0].constant, "varied": wants[0].varied, "free": wants[0].free} if wants else {}
        return Finding(
            code=self.code, grade=Grade.MEASURED if sure else Grade.NOTE, component="loss", cause="degenerate-optimum",
            sentence=sentence, cure="Take away or weaken the term that constant masks satisfy best.", place=site.place,
            evidence={**numbers, "maps": str(now)},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def apart(model: Any, batch: Any) -> Tensor:
            masks, picture = model(batch[0])
            return (picture - batch[0]).square().mean() + torch.exp(-5 * masks**2).mean()

        def rebuilt_only(model: Any, batch: Any) -> Tensor:
            return (model(batch[0])[1] - batch[0]).square().mean()

        pieces: dict[str, Any] = {
            "model": Masker,
            "batches": lambda: ((x,) for x, _ in batches()),
            "optimizer": lambda net: torch.optim.Adam(net.parameters(), 0.05),
            "planned_steps": 60,
        }
        return tiny(loss=apart, **pieces), tiny(loss=rebuilt_only, **pieces)


class Masker(nn.Module):
    """Two masks and what is seen through each."""

    def __init__(self) -> None:
        super().__init__()
        self.mask, self.paint = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.sigmoid(5 * self.mask(x))
        return masks, (masks * self.paint(x)).sum(1, keepdim=True)


def _keep(case: Case, model: nn.Module, wanted: Iterable[Site]) -> None:
    """Remembers the maps of a few pictures, for whoever draws them."""
    with still(model), torch.no_grad(), mapping() as found:
        case.loss(model, case.batches[0])
    shown = case.remembered("maps", dict)
    for site in wanted:
        calls = [one.maps.detach() for one in found.get(site, [])]
        if calls:
            units = torch.cat([maps.flatten(1, -3) if maps.ndim > 3 else maps[:, None] for maps in calls], 1)
            made = f"maps made in {Path(site.line).name} after {steps_taken(case)} steps"
            shown[f"{made}, a picture a row: black 0, white 1"] = units


def seen(case: Case, model: nn.Module, wanted: Iterable[Site]) -> dict[Site, State]:
    """What the maps of each site are like over some batches."""
    maps: dict[Site, list[list[Tensor]]] = {}
    for batch in case.batches[:PASS]:
        with still(model), torch.no_grad(), mapping() as found:
            case.loss(model, batch)
        for site, made in found.items():
            maps.setdefault(site, []).append([one.maps.detach().clone() for one in made])
    states = {}
    for site in wanted:
        passes = maps.get(site, [])
        if passes and len({len(one) for one in passes}) == 1:
            states[site] = state([torch.cat(parts) for parts in zip(*passes, strict=True)])
    return states
