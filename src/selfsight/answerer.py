"""A trained restorer taken up from its run, frozen: what it takes from pictures, and several answers to what is left.

Shapes: N pictures, K answers to each, L levels, C channels, S side.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor, nn

from selfsight.bf16 import bf16_is_native
from selfsight.corruption import Corrupted, Corruption, kinds
from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.findings import doubts
from selfsight.frozen import Frozen, state
from selfsight.restorer import Restorer, Stack

AT_ONCE = 256
"""Answers that are made in one pass."""
Precision = Literal["auto", "32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Answerer:
    """What a run of Restore learned, in eval mode and without gradients."""

    task: Any
    """The run's own: its `corruption`, `restorer` and `distance`."""
    encoder: Encoder
    stack: Stack
    identity: str
    """Which weights of which run these are."""
    doubts: tuple[str, ...] = ()
    """What the run's own findings say against its answers."""

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Answerer:
        """Raises UserError where there is no run, where it is not one of a restorer, or has no checkpoint yet."""
        if (Path(path) / "answers.json").exists():
            raise UserError(f"{path} holds kept answers, and a restorer is wanted here: give the run that made them.")
        found = Frozen.open(
            path,
            lambda task: isinstance(getattr(task, "restorer", None), Restorer),
            _restorer,
            "restores nothing: give a run of `selfsight pretrain --task Restore`",
        )
        named = json.dumps([str(found.run.path.resolve()), found.file.name])
        stack = cast(Stack, found.parts["restorer"])
        against = doubts(found.run)
        if not any(stack.lengths):
            against.append(
                "This restorer was trained without codes (ways false): all its answers to a picture are one."
            )
        return Answerer(found.task, found.encoder, stack, named, tuple(against))

    @property
    def corruption(self) -> Corruption:
        """The run's own."""
        return cast(Corruption, self.task.corruption)

    def unseen(self, corruptions: Iterable[Corruption]) -> list[str]:
        """One sentence on what it was never shown of these, none where it was shown all."""
        strange = sorted(set().union(*map(kinds, corruptions)) - kinds(self.corruption))
        if not strange:
            return []
        does = (
            "fills holes alone: without any, all its answers are what was left"
            if self.stack.sees_holes
            else "can only guess at it"
        )
        return [
            f"The restorer never saw {', '.join(strange)}, and {does}. Train one on all that is asked of it: "
            "--task Restore --corruption decolour/cutout is one of two for each picture."
        ]

    def taken(self, images: Tensor, draws: Generator) -> Corrupted:
        """(N, C, S, S) in [0, 1] -> what the run's own corruption leaves of them."""
        return self.corruption(images, draws)

    def require(self, images: Tensor) -> None:
        """Raises UserError where pictures (N, C, H, W) are not such as it was trained on."""
        channels, size = self.encoder.channels, self.encoder.size
        if tuple(images.shape[1:]) != (channels, size, size):
            raise UserError(
                f"The restorer was trained on pictures of {channels} channels and {size} x {size} pixels, and these "
                f"have {images.shape[1]} and {images.shape[3]} x {images.shape[2]}: give --size {size}, or train one "
                "on these."
            )

    def answers(self, taken: Corrupted, ways: int, draws: Generator, precision: Precision = "32-true") -> Tensor:
        """What is left of pictures (N, C, S, S) -> K = ways answers to each, (N, K, C, S, S) in [0, 1]."""
        return self.answered(taken, self.stack.seeds(len(taken.images), ways, draws), precision)

    @torch.no_grad()
    def answered(self, taken: Corrupted, seeds: Tensor, precision: Precision = "32-true") -> Tensor:
        """The answers that belong to seeds (N, L, K): (N, K, C, S, S) float32. Works on the device of what is left."""
        left = taken.images
        self.encoder.to(left.device)
        self.stack.to(left.device)
        k = seeds.shape[2]
        with torch.autocast(left.device.type, torch.bfloat16, enabled=halves(precision, left.device.type)):
            parts = [
                self._some(left[rows], taken.where[rows], seeds[rows])
                for rows in torch.arange(len(left)).split(max(1, AT_ONCE // k))
            ]
        return torch.cat(parts)

    def _some(self, left: Tensor, where: Tensor, seeds: Tensor) -> Tensor:
        k = seeds.shape[2]
        z, shown = (x.repeat_interleave(k, 0) for x in (self.encoder(left), self.stack.with_holes(left, where)))
        codes = self.stack.codes(seeds.transpose(1, 2).flatten(0, 1))
        return self.stack(shown, codes, z)[-1].float().unflatten(0, (-1, k))


def _restorer(task: Any, encoder: Encoder) -> dict[str, nn.Module]:
    suited = task.suited() if hasattr(task, "suited") else task.restorer
    return {"restorer": suited.build(encoder.channels, encoder.size, encoder.dim)}


def halves(precision: Precision, device: str) -> bool:
    """Whether answers are made in bf16: where it is asked for, or nobody minds and the processor has it.

    Photographs of 32 pixels, colour and detail taken away, 256 answers on one thread of a processor that has it: 1.3
    times as many a second, and 0.0005 from those in single precision on average, where two answers are 0.096 apart.
    """
    if precision != "auto":
        return precision == "bf16-mixed"
    return bf16_is_native(device)


def kept(path: str) -> Answerer:
    """As `Answerer.open`, but read once for as long as the run gets no new checkpoint."""
    return _kept(str(Path(path).resolve()), state(path))


@functools.lru_cache(maxsize=4)
def _kept(path: str, marks: tuple[tuple[str, int], ...]) -> Answerer:
    return Answerer.open(path)
