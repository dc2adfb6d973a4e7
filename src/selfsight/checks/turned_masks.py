"""D106: do a picture and its mask turn together?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.observations.items import read, spread
from selfsight.planted import tiny
from selfsight.program import Program

ITEMS, READINGS = 16, 8
"""Items that are read, and how often: seven in eight readings miss a change of even chance once in 128 items."""
ENOUGH = 3
"""Items whose picture was seen to turn while its mask stood still, or turned otherwise."""
VALUES = 64
"""A mask holds at most so many different numbers: classes, or objects counted through."""
TURNS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "turned left to right": lambda shown: shown.flip(-1),
    "turned upside down": lambda shown: shown.flip(-2),
    "turned by half": lambda shown: shown.flip(-2, -1),
}


@dataclass(frozen=True)
class TurnedMasks(Check):
    """A picture and its mask are two files, and a random flip that is written for one reaches only one.

    Detected: Items are read several times. PROVEN where the picture of one reading is, bit by bit, that of another
    turned over, and the mask, which turning would change, is not turned with it, in three items and never otherwise.
    Matters: Half of the pictures teach where things are not; the loss falls all the same, to blurred masks.
    Cure: Draw the flip once for an item and apply it to both.
    Blind: Turns by any angle, crops, and changes of colour drawn together with the flip; boxes and points given as
    numbers; masks that are pictures.
    """

    code = "D106"
    title = "Do a picture and its mask turn together?"
    needs = ("dataset",)

    def look(self, case: Case) -> Iterator[Finding]:
        torn, whole = dict[str, int](), 0
        dense = False
        for index in _asked(case):
            readings = [_pair(item) for item in _read(case, index)]
            pairs = [pair for pair in readings if pair is not None]
            dense |= len(pairs) > 1
            for shown, mask in pairs[1:]:
                name = _turned(*pairs[0], shown, mask)
                if name == "":
                    whole += 1
                elif name:
                    torn[name] = torn.get(name, 0) + 1
                    break
        if not dense:
            raise DoesNotApply("its items are not a picture and a mask of the same sides")
        if whole or sum(torn.values()) < ENOUGH:
            return
        name = max(torn, key=lambda one: torn[one])
        yield Finding(
            code=self.code, grade=Grade.PROVEN, component="data", cause="mask-not-turned",
            place=of_code(type(case.program.dataset), "dataset"),
            sentence=f"Read twice, the picture of an item comes out {name}, and its mask does not: so in "
            f"{sum(torn.values())} items, in none together.",
            cure="Draw the flip once for an item and apply it to the picture and the mask.",
            evidence={"items": sum(torn.values())},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(dataset=_Masked(both=False)), tiny(dataset=_Masked(both=True))


class _Masked(Dataset[Any]):
    """Dots and where they are, turned over by even chance."""

    def __init__(self, both: bool) -> None:
        self.both = both
        self.pictures = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        shown = self.pictures[index]
        mask = (shown > 0.8).float()
        if torch.rand(()) < 0.5:
            return shown.flip(-1), mask.flip(-1) if self.both else mask
        return shown, mask


def _asked(case: Case) -> list[int]:
    try:
        return spread(len(case.program.dataset), ITEMS)  # type: ignore[arg-type]
    except TypeError as error:
        raise DoesNotApply("its data set has no length") from error


def _read(case: Case, index: int) -> list[Any]:
    try:
        return [read(case, case.program.dataset, index, seed=turn) for turn in range(READINGS)]
    except Failed:
        return []


def _pair(item: Any) -> tuple[Tensor, Tensor] | None:
    """(picture, mask) of an item; None where there are none, or more than one way to see them."""
    found = [leaf for leaf in leaves(item).values() if leaf.ndim in (2, 3) and min(leaf.shape[-2:]) >= 4]
    masks = [leaf for leaf in found if len(leaf.unique()) <= VALUES and bool((leaf == leaf.round()).all())]
    shown = [leaf for leaf in found if not any(leaf is mask for mask in masks)]
    if len(masks) != 1 or len(shown) != 1 or masks[0].shape[-2:] != shown[0].shape[-2:]:
        return None
    return shown[0], masks[0]


def _turned(shown: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> str | None:
    """How the second picture is the first one turned and its mask is not; "" where both are; None where neither."""
    if shown.shape != other.shape or mask.shape != other_mask.shape or torch.equal(shown, other):
        return None
    for name, turn in TURNS.items():
        if torch.equal(turn(shown), other) and not torch.equal(turn(mask), mask):
            if torch.equal(turn(mask), other_mask):
                return ""
            stood = (mask, *(one(mask) for one in TURNS.values()))  # any other mask is one that is drawn anew
            return name if any(torch.equal(one, other_mask) for one in stood) else None
    return None
