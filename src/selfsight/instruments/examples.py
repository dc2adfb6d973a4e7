"""Running a program on parts of a batch, and on batches in which one example is another's.

Shapes: N examples; they are counted along one axis of every tensor of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from selfsight.instruments.dependence import Event, Runs, recording, without_batch_norm
from selfsight.instruments.nest import leaves, mapped, rows
from selfsight.instruments.snapshot import still

COUNTS = ((8, 6), (7, 5), (6, 4), (5, 4), (4, 3))
"""(examples, fewer examples) that are tried; some programs take only even numbers."""
DEPTH = 6
"""How many calls inside one another are opened at most."""

Run = Callable[[nn.Module, Any, int], Any]
"""(model, batch, seed) -> anything; the code of the program whose forward passes are looked at."""


class Undividable(Exception):
    """Why a program cannot be run on parts of its batches."""


def along(batch: Any, axis: int) -> int | None:
    """How many examples a batch has when they are counted along an axis; None where its tensors disagree."""
    if axis == 0:
        return rows(batch)
    sizes = {tensor.shape[axis] for tensor in leaves(batch).values() if tensor.ndim > axis}
    alike = all(tensor.ndim > axis for tensor in leaves(batch).values() if tensor.ndim)
    return next(iter(sizes)) if len(sizes) == 1 and alike else None


def part(batch: Any, count: int, axis: int = 0) -> Any:
    """The first examples of a batch."""
    return mapped(batch, lambda _, tensor: tensor.narrow(axis, 0, count).clone() if tensor.ndim > axis else tensor)


def with_other(batch: Any, example: int, donors: Any, axis: int = 0) -> Any:
    """A batch in which one example is replaced by that of the same number from `donors`."""
    given = leaves(donors)

    def one(path: str, tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis:
            return tensor
        changed = tensor.clone()
        changed.select(axis, example).copy_(given[path].select(axis, example))
        return changed

    return mapped(batch, one)


def donors(batches: list[Any], count: int, axis: int = 0) -> Any:
    """As many examples, each other than the one of its number in the first batch."""
    first = batches[0]
    for other in batches[1:]:
        if (along(other, axis) or 0) >= count and _alike(first, other, axis):
            return part(other, count, axis)
    shift = count if (along(first, axis) or 0) >= 2 * count else 1  # there is only one batch

    def one(_: str, tensor: Tensor) -> Tensor:
        return tensor.roll(-shift, axis).narrow(axis, 0, count).clone() if tensor.ndim > axis else tensor

    return mapped(first, one)


def _alike(one: Any, other: Any, axis: int) -> bool:
    """Whether an example of one batch could stand in the other."""

    def shapes(batch: Any) -> dict[str, list[int]]:
        return {
            path: [size for at, size in enumerate(tensor.shape) if at != axis] for path, tensor in leaves(batch).items()
        }

    return shapes(one) == shapes(other)


class Study:
    """A program's forward pass, run on parts of its first batch with one example after the other replaced.

    Raises Undividable where it cannot be run on parts of a batch. Models run in eval mode, without batch statistics.
    """

    def __init__(self, model: nn.Module, run: Run, batches: list[Any], axis: int = 0) -> None:
        self.model, self.run, self.axis = model.eval(), run, axis
        whole = along(batches[0], axis)
        if whole is None:
            raise Undividable("the tensors of a batch have no common number of examples")
        if whole < COUNTS[-1][0]:
            raise Undividable(f"a batch has only {whole} examples")
        self.count, self.fewer = self._size(batches[0], whole)
        self.batch = part(batches[0], self.count, axis)
        self.donors = donors(batches, self.count, axis)
        self.opened: set[int] = set()
        self._open_sums()

    def _size(self, batch: Any, whole: int) -> tuple[int, int]:
        for count, fewer in COUNTS:
            if count <= whole:
                try:
                    self.events(part(batch, count, self.axis))
                    self.events(part(batch, fewer, self.axis))
                except Exception:  # whatever the program says to a batch of another size
                    continue
                return count, fewer
        raise Undividable("the program does not run on a part of a batch")

    def events(self, batch: Any, seed: int = 0, opened: Iterable[int] = ()) -> list[Event]:
        """The forward pass on one batch."""
        with still(self.model), without_batch_norm(), recording(self.model, set(opened)) as events:
            self.run(self.model, batch, seed)
        return events

    def runs(self, opened: Iterable[int] | None = None, seed: int = 0) -> Runs:
        """The forward pass on all of it, on fewer, again, and with each example replaced."""
        opened = self.opened if opened is None else set(opened)
        fewer = part(self.batch, self.fewer, self.axis)
        swapped = [with_other(self.batch, i, self.donors, self.axis) for i in range(self.count)]
        base, again, less = (self.events(batch, seed, opened) for batch in (self.batch, self.batch, fewer))
        replaced = [self.events(batch, seed, opened) for batch in swapped]
        return Runs(self.count, self.fewer, base, less, again, replaced)

    def _open_sums(self) -> None:
        """Opens the calls that put out nothing for each example: models that return their own loss, or all pairs."""
        for _ in range(DEPTH):
            whole = self.events(self.batch, opened=self.opened)
            less = self.events(part(self.batch, self.fewer, self.axis), opened=self.opened)
            found = {
                one.number for one, few in zip(whole, less, strict=False) if one.module is not None and _sums(one, few)
            }
            if not found:
                return
            self.opened |= found


def _sums(whole: Event, fewer: Event) -> bool:
    axes = []
    for path, tensor in whole.outputs.items():
        less = fewer.outputs.get(path)
        if less is None or less.ndim != tensor.ndim:
            return False
        axes.append(sum(a != b for a, b in zip(tensor.shape, less.shape, strict=True)))
    fixed = any(n == 0 and tensor.numel() > 1 for n, tensor in zip(axes, whole.outputs.values(), strict=True))
    return 1 not in axes and not fixed
