"""Which examples each step of a forward pass depends on, told by replacing one example at a time and running it again.

A forward pass is written down as events: calls of modules, and of torch functions outside any module. A call can be
opened, and then what happens inside it is written down instead. Which axis of a tensor counts examples is not guessed:
the pass is run on fewer examples, and the axes that shrink are the ones.

Shapes: N examples; the matrix is (N, N), row = the example that was replaced, column = the example whose part moved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

from selfsight.instruments.nest import leaves
from selfsight.instruments.place import Place, of_caller

NOISE = 1e-5
"""A change below so much of the largest number of a tensor is rounding; one row of a product of 4096 numbers, computed
in another order, moves by less than 2e-6."""
COARSE = 16
"""The same in units of the last place, for numbers of less than 32 bits."""


@dataclass
class Event:
    """One call of a module or of a torch function."""

    name: str
    module: nn.Module | None
    place: Place
    number: int
    """Of a module's call: how many calls of modules began before it. -1 for a function."""
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor] = field(default_factory=dict)
    graded: bool = False
    """Whether a gradient can flow back through an output."""


class _Recorder(TorchFunctionMode):
    def __init__(self, model: nn.Module, opened: Collection[int]) -> None:
        super().__init__()
        self.names = {id(module): name for name, module in reversed(list(model.named_modules()))}
        self.opened, self.events = opened, list[Event]()
        self.running, self.begun = list[Event | None](), 0

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        number, self.begun = self.begun, self.begun + 1
        if self.closed or number in self.opened:
            self.running.append(None)
            return
        name = self.names[id(module)]
        self.running.append(Event(name, module, Place(name), number, _copied((args, kwargs))))

    def after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        event = self.running.pop()
        if event is not None:
            self._finish(event, output)

    @property
    def closed(self) -> bool:
        """Whether a call that is written down as one event is running."""
        return any(event is not None for event in self.running)

    def _finish(self, event: Event, output: Any) -> None:
        event.outputs = _copied(output)
        event.graded = any(tensor.requires_grad for tensor in leaves(output).values())
        self.events.append(event)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.closed:
            return func(*args, **kwargs)
        inputs = _copied((args, kwargs))
        output = func(*args, **kwargs)
        if inputs and leaves(output):
            name = getattr(func, "__name__", str(func))
            self._finish(Event(name, None, of_caller(name), -1, inputs), output)
        return output


def _copied(value: Any) -> dict[str, Tensor]:
    with torch._C.DisableTorchFunction():
        return {path: tensor.detach().clone() for path, tensor in leaves(value).items() if not tensor.is_sparse}


@contextlib.contextmanager
def recording(model: nn.Module, opened: Collection[int] = ()) -> Iterator[list[Event]]:
    """Writes down the calls of modules that no unopened call makes, and of torch functions outside them, in order."""
    recorder = _Recorder(model, opened)
    handles = [
        handle
        for module in dict.fromkeys(model.modules())
        for handle in (
            module.register_forward_pre_hook(recorder.before, with_kwargs=True),
            module.register_forward_hook(recorder.after, with_kwargs=True),
        )
    ]
    try:
        with recorder:
            yield recorder.events
    finally:
        for handle in handles:
            handle.remove()


class _NoBatchNorm(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is batch_norm:
            return _frozen_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _frozen_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is None or running_var is None:
        running_mean, running_var = input.new_zeros(input.shape[1]), input.new_ones(input.shape[1])
    return torch.batch_norm(
        input, weight, bias, running_mean, running_var, False, momentum, eps, torch.backends.cudnn.enabled
    )


@contextlib.contextmanager
def without_batch_norm() -> Iterator[None]:
    """While the block runs, torch's batch norm scales by its running statistics, or not at all."""
    with _NoBatchNorm():
        yield


Kind = Literal["constant", "summary", "clean", "mixed", "pairs", "unknown"]
"""What a tensor has to do with examples: nothing; it sums them up; each has a part of its own that depends on that
example alone, or on others too; each pair has a part; cannot be told."""


@dataclass
class Ownership:
    """What one tensor of a forward pass has to do with examples."""

    kind: Kind
    axis: int = 0
    matrix: Tensor | None = None
    """(N, N) root mean square change, where there is an axis of examples."""

    @property
    def torn(self) -> bool:
        """Whether the part of some example does not depend on that example, but on others."""
        if self.matrix is None:
            return False
        moved = self.matrix > 0
        own = moved.diagonal()
        return bool(moved.any()) and bool((~own & moved.any(0) & moved.any(1)).any())

    @property
    def swapped(self) -> bool:
        """Whether each part depends on exactly one example: examples have only changed places."""
        if self.matrix is None:
            return False
        moved = self.matrix > 0
        return bool((moved.sum(0) == 1).all()) and bool((moved.sum(1) == 1).all())


@dataclass
class Runs:
    """The same forward pass on N examples, on fewer, twice, and with one example after the other replaced."""

    count: int
    fewer_count: int
    base: list[Event]
    fewer: list[Event]
    again: list[Event]
    replaced: list[list[Event]]
    """One run for each of the N examples."""

    def __post_init__(self) -> None:
        """Cuts all runs where they begin to differ in what they call."""
        runs = [self.base, self.fewer, self.again, *self.replaced]
        same = 0
        for events in zip(*runs, strict=False):
            if len({event.name for event in events}) > 1:
                break
            same += 1
        for run in runs:
            del run[same:]

    def owned(self, number: int, side: Literal["inputs", "outputs"], path: str) -> Ownership:
        """What the tensor at `path` of event `number` has to do with examples."""
        found = [getattr(run[number], side).get(path) for run in (self.base, self.fewer, self.again, *self.replaced)]
        base, fewer, again, *replaced = found
        if any(tensor is None for tensor in found) or base.ndim != fewer.ndim or base.is_complex():
            return Ownership("unknown")
        if any(tensor.shape != base.shape for tensor in (again, *replaced)) or _moved(base, again, None).any():
            return Ownership("unknown")
        axes = [axis for axis in range(base.ndim) if base.shape[axis] != fewer.shape[axis]]
        if not axes:
            moves = any(bool(_moved(base, tensor, None).any()) for tensor in replaced)
            return Ownership("summary" if moves else "constant")
        if len(axes) > 1:
            return Ownership("pairs")
        axis = axes[0]
        per = base.shape[axis] // self.count
        if base.shape[axis] != per * self.count or fewer.shape[axis] != per * self.fewer_count:
            return Ownership("unknown")
        rows = torch.stack([_moved(base, tensor, axis) for tensor in replaced])  # (N, rows)
        readings = [
            rows.unflatten(1, (self.count, per)).square().mean(2).sqrt(),  # an example's rows side by side
            rows.unflatten(1, (per, self.count)).square().mean(1).sqrt(),  # one after the other, as torch.cat puts them
        ]
        clean = [bool((matrix.fill_diagonal_(0) == 0).all()) for matrix in (reading.clone() for reading in readings)]
        if any(clean):
            return Ownership("clean", axis, readings[clean.index(True)])
        return Ownership("mixed", axis, readings[1] if base.ndim and per > 1 else readings[0])

    def kinds(self, number: int, side: Literal["inputs", "outputs"]) -> dict[str, Ownership]:
        """`owned` for every tensor of an event's side."""
        return {path: self.owned(number, side, path) for path in getattr(self.base[number], side)}


def _moved(one: Tensor, other: Tensor, axis: int | None) -> Tensor:
    """Root mean square change along an axis, or of the whole; exactly 0 where it is no more than rounding."""
    before, after = (torch.nan_to_num(tensor.double(), 0.0, 0.0, 0.0) for tensor in (one, other))
    small = NOISE
    if one.is_floating_point() and torch.finfo(one.dtype).bits < 32:
        small = COARSE * torch.finfo(one.dtype).eps
    largest = before.abs().max() if before.numel() else before.new_zeros(())
    gap = (after - before).abs()
    gap = torch.where(gap > small * largest, gap, torch.zeros_like(gap))
    if axis is None:
        return gap.square().sum().sqrt()
    return gap.movedim(axis, 0).flatten(1).square().mean(1).sqrt() if gap.ndim > 1 else gap
