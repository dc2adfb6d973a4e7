"""How much memory a training will hold, foreseen before its first step from small forward passes.

What a step keeps for its way back grows with the images in it, and with their pairs where a task compares them: bytes
are counted at up to three small numbers of images and followed to the real one. To that come gradients and the
optimizer's memory, and what the largest map needs on the way back.

Shapes: N images a micro-batch.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfsight.batch import Now
from selfsight.bf16 import bf16_is_native
from selfsight.engine import Engine, solitary
from selfsight.errors import UserError
from selfsight.plan import build, resident
from selfsight.recipe import Recipe
from selfsight.remembered import keep, recall
from selfsight.seeds import generator
from selfsight.task import Model

COUNTED = 32
"""Images of the largest of the small passes; of a smaller micro-batch it has them all."""
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


def require_room(
    recipe: Recipe, images: np.ndarray, where: np.ndarray, batch: int, remembered: Path | None = None
) -> int | None:
    """About how many bytes each process of a training takes that learns from `batch` images a step.

    remembered: where it is kept what such steps take; see remembered.py.

    None on several GPUs, whose processes have not been given theirs yet. Raises UserError where fewer bytes are free.
    """
    world, here = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world > 1 and torch.cuda.is_available():
        return None
    part = batch // (recipe.accumulate * world)
    need = _recalled(remembered, recipe.precision)
    if need is None:
        need = foreseen(recipe, images, where, part)
        keep(remembered, _kept(recipe.precision), {**asdict(need), "kept": need.kept.tolist()})
    room = free()
    if room is not None and need(part) * here > room:
        raise UserError(
            f"This training would take about {need(part) * here / 1e9:,.2g} GB of memory beside what is taken, and "
            f"{max(0, room) / 1e9:,.2g} GB are free. {_advice(recipe, batch, part, need, 0.9 * room / here)}"
        )
    return need(part)


def _recalled(remembered: Path | None, precision: str) -> Need | None:
    """What was counted before for such steps, which is the same each time."""
    with suppress(ValueError, TypeError, KeyError):
        if held := recall(remembered, _kept(precision)):
            return Need(np.array([float(one) for one in held["kept"]]), float(held["largest"]), int(held["trained"]))
    return None


def _kept(precision: str) -> str:
    return f"memory, precision {precision}"


def _advice(recipe: Recipe, batch: int, part: int, need: Need, room: float) -> str:
    """What to write so that a micro-batch fits into so many bytes."""
    fits = [n for n in (2**i for i in range(1, part.bit_length())) if n < part and need(n) <= room]
    # a precision that is still open is counted as the larger of the two
    halved = recipe.precision == "auto" and bf16_is_native() and need(part) / 2 <= room
    half = "Settle for --precision bf16-mixed, which takes about half. Or take" if halved else "Take"
    if not fits:
        return f"{half} smaller pictures (--size) or a smaller encoder."
    together = batch // part
    parts = [n for n in range(recipe.accumulate + 1, batch + 1) if batch % n == 0 and batch // n <= fits[-1]]
    more = f", or the same in more parts (--accumulate {parts[0]})" if parts and together == recipe.accumulate else ""
    return f"{half} fewer images a step (--batch {fits[-1] * together}){more}; smaller pictures (--size) help most."


@dataclass(frozen=True)
class Need:
    """Bytes that a training takes, beside what its process holds before, by the images of a micro-batch."""

    kept: np.ndarray
    """Coefficients, the highest power first, of what is kept for the way back."""
    largest: float
    """Of the largest map, for an image."""
    trained: int
    """Of what is trained."""

    def __call__(self, part: int) -> int:
        kept = max(0.0, float(np.polyval(self.kept, part)))
        return round(SLACK * (kept + BACK * self.largest * part + STATES * self.trained))


def foreseen(recipe: Recipe, images: np.ndarray, where: np.ndarray, part: int) -> Need:
    """What micro-batches of up to `part` images, and more, take; in fp32, where the precision is still open."""
    fabric = solitary("32-true" if recipe.precision == "auto" else recipe.precision)
    model = build(recipe, images.shape[1], images.shape[3])
    fabric.to_device(model)
    most = max(2, min(COUNTED, part, len(where)))
    counts, passes = list[int](), list[tuple[int, int]]()
    for n in sorted({max(2, most // 4), max(2, most // 2), most}):
        with suppress(*([ValueError] if n < most else [])):  # of a puzzle that needs more images
            passes.append(_passed(recipe, model, images, where[:n], fabric))
            counts.append(n)
    kept = np.polyfit(counts, [total for total, _ in passes], len(counts) - 1)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    if torch.cuda.is_available():
        del model
        torch.cuda.empty_cache()  # else what the passes took would count as taken
    return Need(kept, passes[-1][1] / most, trained)


def _passed(recipe: Recipe, model: Model, images: np.ndarray, rows: np.ndarray, fabric: Engine) -> tuple[int, int]:
    """(all, the largest) bytes that one pass keeps; the processor's random state stays as it is."""
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
        found.append(1024 * _told(Path("/proc/meminfo"))["MemAvailable:"])
    for group in _groups():
        with suppress(OSError, ValueError, KeyError):  # "max" says that a group has no limit of its own
            most, held = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
            files = _told(group / "memory.stat")
            found.append(most - held + files["inactive_file"] + files["active_file"])  # which the system gives back
    return min(found, default=None)


def _groups() -> list[Path]:
    """Folders of this process's control groups (version 2), its own and all above it."""
    top = Path("/sys/fs/cgroup")
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                own = top / path.lstrip("/")
                return [own, *(above for above in own.parents if above == top or top in above.parents)]
    return [top]


def _told(path: Path) -> dict[str, int]:
    """Numbers by name of a file that has one in each line."""
    words = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdigit()}
