"""How much memory a training will hold, foreseen before its first step from three small forward passes.

What a step keeps for its way back grows with the images in it, and with their pairs where a task compares them: bytes
are counted at three small numbers of images and followed to the real one. To that come gradients and the optimizer's
memory, and what the largest map needs on the way back.

Shapes: N images a micro-batch.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from selfsight.batch import Now
from selfsight.errors import UserError
from selfsight.plan import build, resident, solitary
from selfsight.recipe import Recipe
from selfsight.seeds import generator
from selfsight.task import Model

COUNTED = (8, 16, 32)
"""Images of the small passes."""
BACK = 3
"""Largest maps that are there at once on the way back, beside what was kept: a gradient, the next, and a copy."""
STATES = 3
"""Numbers held for each that is trained: its gradient and two moments."""
SLACK = 1.5
"""What allocator, casts and the kernels' scratch take on top: six trainings took 1.2 to 1.8 times what is counted, by
the size of their process."""


class Kept:
    """Counts what a forward pass keeps: use as a context, then `total` and `largest` in bytes."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        self.seen: dict[int, Tensor] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in self.own:
            self.seen[place] = tensor  # held, so that no other takes its place
        return tensor

    def __enter__(self) -> Kept:
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)
        sizes = [tensor.untyped_storage().nbytes() for tensor in self.seen.values()]
        self.total, self.largest = sum(sizes), max(sizes, default=0)
        self.seen.clear()


def require_room(recipe: Recipe, images: np.ndarray, where: np.ndarray, part: int) -> int:
    """About how many bytes micro-batches of `part` images take. Raises UserError where fewer are free."""
    needed, room = foreseen(recipe, images, where, part), free()
    if room is not None and needed > room:
        fewer = max(2, 2 ** int(np.log2(max(2.0, 0.8 * part * room / needed))))
        raise UserError(
            f"This training would take about {needed / 1e9:,.1f} GB of memory beside what is taken, and "
            f"{room / 1e9:,.1f} GB are free. Take fewer images a step (--batch {fewer}), or them in parts "
            f"(--accumulate {-(-part // fewer)})."
        )
    return needed


def foreseen(recipe: Recipe, images: np.ndarray, where: np.ndarray, part: int) -> int:
    """Bytes that a training in micro-batches of `part` images takes, beside what the process holds now; in fp32, where
    its precision is still open."""
    fabric = solitary("32-true" if recipe.precision == "auto" else recipe.precision)
    model = build(recipe, images.shape[1], images.shape[3])
    fabric.to_device(model)
    counts = [n for n in COUNTED if n <= len(where)] or [len(where)]
    totals, largest = [], 0.0
    for n in counts:
        total, most = _passed(recipe, model, images, where[:n], fabric)
        totals.append(total)
        largest = most / n
    kept = float(np.polyval(np.polyfit(counts, totals, len(counts) - 1), part))
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return round(SLACK * (max(kept, totals[-1]) + BACK * largest * part + STATES * trained))


def _passed(recipe: Recipe, model: Model, images: np.ndarray, rows: np.ndarray, fabric: Fabric) -> tuple[int, int]:
    """(all, the largest) bytes that one pass keeps; weights and the caller's random state stay as they are."""
    now = Now(0, 1000, generator(recipe.seed, "memory"), {})
    example = recipe.task.prepare(resident(fabric, images, rows), now)
    with torch.random.fork_rng(devices=[]), Kept(model) as kept, fabric.autocast():
        recipe.task.loss(recipe.task.predict(model, example), example)
    return kept.total, kept.largest


def free() -> int | None:
    """Bytes that this process could still take, of the device it trains on; None where nobody says."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    found = []
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):  # of a container, where "max" says that it has none of its own
        group = Path("/sys/fs/cgroup")
        most, held = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        found.append(most - held)
    return min(found, default=None)
