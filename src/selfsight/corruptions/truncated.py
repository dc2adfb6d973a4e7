"""Truncated: what a speller wrote down of the picture, broken off after a few tokens.

A corruption of known strength: the fewer tokens, the farther from the picture, as no token makes any picture worse.
What is left is what a speller of these images found worth saying first, which is coarse shape and colour; a restorer
can complete it several ways.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from selfsight.corruption import Corruption, nowhere
from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.frozen import Frozen, mark, state
from selfsight.places import anchor
from selfsight.speller import Speller, Spelling


@dataclass(frozen=True, kw_only=True)
class Truncated(Corruption):
    """Good for a restorer that is to think up what a short spelling leaves out, and for views that agree in their gist.
    Poor with a speller of other images, and where a spelling costs more than a step: each picture is spelled anew."""

    speller: str = ""
    """Folder of a run of --task Tokens, on pictures of this size."""
    tokens: tuple[int, int] = (1, 4)
    """Fewest and most that are kept; each picture draws its own number of them, at least 1."""

    def check(self) -> None:
        if not 1 <= self.tokens[0] <= self.tokens[1]:
            raise ValueError(
                f"tokens are the fewest and the most that are kept, 1 <= fewest <= most, not {self.tokens}"
            )
        anchor(self, "speller")

    def reads(self) -> str:
        return mark(self._place())

    @torch.no_grad()
    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        found = _kept(str(Path(self._place()).resolve()), state(self._place()))
        spelling, encoder = cast(Spelling, found.parts["speller"]), found.encoder
        if tuple(images.shape[1:]) != spelling.shape:
            channels, side = spelling.shape[:2]
            raise UserError(
                f"{self.speller} spells pictures of {channels} channels and {side} x {side} pixels, and these have "
                f"{images.shape[1]} and {images.shape[3]} x {images.shape[2]}: give --size {side}, or a run on these."
            )
        if self.tokens[1] > spelling.tokens:
            raise UserError(f"{self.speller} writes {spelling.tokens} tokens at most, not {self.tokens[1]}.")
        counts = torch.randint(self.tokens[0], self.tokens[1] + 1, (len(images),), generator=generator)
        with torch.autocast(images.device.type, enabled=False):
            spelt = spelling.to(images.device).spell(images.float(), encoder.to(images.device), self.tokens[1])
        left = spelt.pictures[torch.arange(len(images), device=images.device), counts.to(images.device)]
        return left.to(images), nowhere(images)

    def _place(self) -> str:
        if not self.speller:
            raise UserError(
                "Whose spelling? Name a run of `selfsight pretrain --task Tokens`: --corruption truncated "
                "--corruption.speller runs/v."
            )
        return self.speller


@functools.lru_cache(maxsize=4)
def _kept(path: str, marks: tuple[tuple[str, int], ...]) -> Frozen:
    return Frozen.open(
        path,
        lambda task: isinstance(getattr(task, "speller", None), Speller),
        _speller,
        "spells nothing: give a run of `selfsight pretrain --task Tokens`",
    )


def _speller(task: Any, encoder: Encoder) -> dict[str, nn.Module]:
    return {"speller": task.speller.build(encoder)}
