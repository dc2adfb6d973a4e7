"""A trained restorer taken up from its run, frozen: what it takes from pictures, and several answers to what is left.

Shapes: N pictures, K answers to each, L levels, C channels, S side.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor

from selfsight.checkpoint import newest
from selfsight.corruption import Corrupted, Corruption
from selfsight.described import made
from selfsight.encoder import Backbone, Encoder, without_weights
from selfsight.errors import UserError
from selfsight.restorer import Restorer, Stack
from selfsight.run import Run
from selfsight.task import Task
from selfsight.train import model_tensors

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

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Answerer:
        """Raises UserError where there is no run, where it is not one of a restorer, or has no checkpoint yet."""
        run = Run.open(path)
        recipe, plan = run.json("recipe"), run.json("plan")
        task = made(recipe["task"], Task)  # type: ignore[type-abstract]
        if not isinstance(getattr(task, "restorer", None), Restorer):
            raise UserError(
                f"{run.path} was trained on {type(task).__name__}, which restores nothing: give a run of "
                "`selfsight pretrain --task Restore`."
            )
        found = newest(run) if plan else None
        if not found:
            raise UserError(f"{run.path} has learned nothing yet: `selfsight resume {run.path}` goes on with it.")
        file, tensors, _ = found
        backbone = without_weights(made(recipe["encoder"], Backbone))  # type: ignore[type-abstract]
        encoder = backbone.build(plan["channels"], plan["size"])
        stack = cast(Any, task).restorer.build(encoder.channels, encoder.size, encoder.dim)
        weights = model_tensors(tensors)
        for net, prefix in ((encoder, "encoder."), (stack, "parts.restorer.")):
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            try:
                net.load_state_dict(own)
            except RuntimeError as error:
                raise UserError(
                    f"{file} does not fit the run's recipe: {str(error).splitlines()[0]}. Was recipe.json changed?"
                ) from error
            net.eval().requires_grad_(False)
        return Answerer(task, encoder, stack, json.dumps([str(run.path.resolve()), file.name]))

    @property
    def corruption(self) -> Corruption:
        """The run's own."""
        return cast(Corruption, self.task.corruption)

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

    def answers(self, left: Tensor, ways: int, draws: Generator, precision: Precision = "32-true") -> Tensor:
        """What is left of pictures (N, C, S, S) in [0, 1] -> K = ways answers to each, (N, K, C, S, S) in [0, 1]."""
        return self.answered(left, self.stack.seeds(len(left), ways, draws), precision)

    @torch.no_grad()
    def answered(self, left: Tensor, seeds: Tensor, precision: Precision = "32-true") -> Tensor:
        """The answers that belong to seeds (N, L, K): (N, K, C, S, S) float32. Works beside `left`, wherever it is."""
        self.encoder.to(left.device)
        self.stack.to(left.device)
        k = seeds.shape[2]
        with torch.autocast(left.device.type, torch.bfloat16, enabled=halves(precision, left.device.type)):
            parts = [
                self._some(left[rows], seeds[rows]) for rows in torch.arange(len(left)).split(max(1, AT_ONCE // k))
            ]
        return torch.cat(parts)

    def _some(self, left: Tensor, seeds: Tensor) -> Tensor:
        k = seeds.shape[2]
        z = self.encoder(left).repeat_interleave(k, 0)
        codes = self.stack.codes(seeds.transpose(1, 2).flatten(0, 1))
        return self.stack(left.repeat_interleave(k, 0), codes, z)[-1].float().unflatten(0, (-1, k))


def halves(precision: Precision, device: str) -> bool:
    """Whether answers are made in bf16: where it is asked for, or nobody minds and the processor has it.

    Photographs of 32 pixels, colour and detail taken away, 256 answers on one thread of a processor that has it: 1.3
    times as many a second, and 0.0005 from those in single precision on average, where two answers are 0.096 apart.
    """
    if precision != "auto":
        return precision == "bf16-mixed"
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(device == "cpu" and torch.backends.mkldnn.is_available() and supported and supported())


def kept(path: str) -> Answerer:
    """As `Answerer.open`, but read once for as long as the run gets no new checkpoint."""
    marks = tuple((str(file), file.stat().st_mtime_ns) for _, file in Run.open(path).checkpoints())
    return _kept(str(Path(path).resolve()), marks)


def mark(path: str) -> str:
    """A mark of the weights that `Answerer.open` takes up. Raises UserError where it finds none."""
    found = newest(Run.open(path))
    if not found:
        raise UserError(f"{path} has learned nothing yet: `selfsight resume {path}` goes on with it.")
    return hashlib.blake2b(found[0].read_bytes(), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=4)
def _kept(path: str, marks: tuple[tuple[str, int], ...]) -> Answerer:
    return Answerer.open(path)
