"""Whether a loss draws one row of free outputs towards another: the sign of its gradient along the line between them.

Shapes: R rows, D numbers each; a matrix of pulls is (R, R): how fast the loss falls when row r moves towards row j.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from selfsight.instruments.calls import Slot
from selfsight.instruments.nest import rows, taken
from selfsight.instruments.reach import Tail, Unreachable
from selfsight.observations.tails import drawn, tail_of

if TYPE_CHECKING:
    from selfsight.case import Case

DRAWS = 16
"""Random outputs per seed of the program; a loss that is indifferent gives them all one sign once in 2 ** 16."""
OUTSTANDING = 1.0
"""In units of the mean size of all relative pulls. One pair among many that alone attracts pulls several units; where
one repels, each of the others pulls about half a unit."""
SMALL = 0.25
"""A partner that pulls less than this share of what the strongest stranger pulls is no partner."""


def pulled(tail: Tail, slots: list[Slot]) -> list[Tensor]:
    """(R, R) for each drawing; half have the spread of the model's own outputs, half are standard normal."""
    generator, found = torch.Generator().manual_seed(4), []
    for draw in range(DRAWS):
        outputs = drawn(tail, slots, generator, None if draw % 2 else 1.0)
        free = {slot: value.requires_grad_() for slot, value in outputs.items()}
        given = torch.autograd.grad(tail(free), list(free.values()), allow_unused=True)
        z = torch.cat([value.detach().flatten(1).double() for value in free.values()])
        slopes = torch.cat(
            [
                torch.zeros_like(value).flatten(1).double() if slope is None else slope.flatten(1).double()
                for value, slope in zip(free.values(), given, strict=True)
            ]
        )
        found.append((slopes * z).sum(1, keepdim=True) - slopes @ z.T)
    return found


@dataclass(frozen=True)
class Pulls:
    """Pulls under two seeds of the program, so that a partner drawn by lot is not taken for a fixed one."""

    first: Tensor
    """(DRAWS, R, R)."""
    second: Tensor
    groups: list[list[int]]
    """The rows of each example's views."""

    @cached_property
    def _own(self) -> Tensor:
        """(R, R) bool: views of one example, a row and itself left out."""
        own = torch.zeros(self.first.shape[1:], dtype=torch.bool)
        for group in self.groups:
            for i in group:
                own[i, [j for j in group if j != i]] = True
        return own

    @cached_property
    def _rows(self) -> list[int]:
        return sorted(i for group in self.groups for i in group)

    def _relative(self, pulls: Tensor) -> Tensor:
        """Each row's pulls to the others from their mean, in units of the drawing's mean size."""
        others = ~torch.eye(pulls.shape[1], dtype=torch.bool)
        mean = (pulls * others).sum(2, keepdim=True) / (pulls.shape[1] - 1)
        centred = (pulls - mean) * others
        return centred / centred.abs().mean((1, 2), keepdim=True).clamp_min(1e-300)

    def _at(self, pulls: Tensor, which: Tensor) -> Tensor:
        """(DRAWS, rows): a row's mean pull to those that `which` names."""
        chosen = (pulls * which).sum(2) / which.sum(1).clamp_min(1)
        return chosen[:, self._rows]

    @cached_property
    def _to_partner(self) -> Tensor:
        return self._at(torch.cat([self._relative(self.first), self._relative(self.second)]), self._own)

    @cached_property
    def partner(self) -> float:
        """The mean relative pull to an example's other views."""
        return float(self._to_partner.mean())

    def partners_repel(self) -> bool:
        """In every drawing, and for every row over the drawings, and more than other rows differ among themselves."""
        firm = bool((self._to_partner.mean(1) < 0).all() and (self._to_partner.mean(0) < 0).all())
        return firm and self.partner < -OUTSTANDING

    @cached_property
    def stranger(self) -> list[tuple[int, int]]:
        """For each row the one that draws it most, by the first seed's drawings."""
        strongest = self._relative(self.first).mean(0).fill_diagonal_(-torch.inf).argmax(1)
        return [(i, int(strongest[i])) for i in self._rows]

    @cached_property
    def _to_stranger(self) -> Tensor:
        which = torch.zeros_like(self._own)
        for i, j in self.stranger:
            which[i, j] = True
        return self._at(self._relative(self.second), which)

    @property
    def other(self) -> float:
        """The mean relative pull to the strongest rows, by the second seed's drawings."""
        return float(self._to_stranger.mean())

    def strangers_attract(self) -> bool:
        """Every row is drawn to one of another example, in every drawing of the other seed, and not to its partner."""
        foreign = not any(bool(self._own[i, j]) for i, j in self.stranger)
        firm = bool((self._to_stranger.mean(1) > 0).all() and (self._to_stranger.mean(0) > 0).all())
        return foreign and firm and self.other > OUTSTANDING and self.partner < SMALL * self.other


def own_negatives(case: Case, slots: list[Slot]) -> int:
    """The number of candidates of each row where it is itself among them; 0 where not, or where it cannot be told.

    Equal outputs cost ln R, and outputs at right angles, whose similarities with others are all equal too, cost more.
    """
    count = rows(case.batch) or 0
    try:
        each, numbers = _size(tail_of(case, case.batch), slots, count)
        most = min(count, int(numbers // each)) if each else 0
        if most < 4:
            return 0
        tails = [tail_of(case, taken(case.batch, slice(0, n))) for n in (most, most - 2)]
    except Unreachable:
        return 0
    return max((_counted(tails, slots, way) for way in range(4)), default=0)


def _size(tail: Tail, slots: list[Slot], count: int) -> tuple[float, int]:
    """Rows per example, numbers per row."""
    return sum(len(tail.slots[slot]) for slot in slots) / max(1, count), tail.slots[slots[0]][0].numel()


def _counted(tails: Iterable[Tail], slots: list[Slot], way: int) -> int:
    """The number of rows where the loss (a mean, a sum, two means) shows the mark at both sizes; else 0."""
    told = []
    for tail in tails:
        number = sum(len(tail.slots[slot]) for slot in slots)
        times = (1, 2, number, number / 2)[way]
        width = tail.slots[slots[0]][0].numel()
        turn = torch.linalg.qr(torch.randn(width, number, generator=torch.Generator().manual_seed(5)))[0].T
        equal, apart = (_loss(tail, slots, z) / times for z in (turn[:1].expand(number, -1), turn))
        if abs(equal - math.log(number)) > 1e-4 or not apart > equal + 1e-3:
            return 0
        told.append(number)
    return told[0]


def _loss(tail: Tail, slots: list[Slot], z: Tensor) -> float:
    parts = z.split([len(tail.slots[slot]) for slot in slots])
    with torch.no_grad():
        own = [tail.slots[slot] for slot in slots]
        shaped = [part.reshape(value.shape).to(value) for part, value in zip(parts, own, strict=True)]
        return float(tail(dict(zip(slots, shaped, strict=True))).double())
