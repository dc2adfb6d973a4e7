"""A case is a program under examination: its callables, guarded, and what several checks want to know, kept.

Nothing of the program is changed: every random state is put back, a model that the program hands out again and again is
restored, and what the program prints is caught and counted.

Shapes: N examples in a batch.
"""

from __future__ import annotations

import contextlib
import io
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from selfsight.instruments.calls import listening
from selfsight.instruments.nest import kept, numbers, rows, taken
from selfsight.instruments.place import Place, of_error
from selfsight.instruments.randomness import replayed, untouched
from selfsight.instruments.reach import Reach, Tail, Unreachable, reach
from selfsight.instruments.snapshot import Snapshot
from selfsight.program import Program

KEPT = 12
"""Batches of a pass that are kept."""
LARGE = 32
"""Examples of a kept batch, at most: what is asked of 32 need not be asked of thousands."""
SIZE = 8
"""Examples in a frozen batch: enough for batch statistics, few enough for hundreds of steps."""
PATIENCE = 60.0
"""Seconds that one call of a program may take before it is said to hang."""

T = TypeVar("T")


class Failed(Exception):
    """A callable of the program raised, or did not come back."""

    def __init__(self, what: str, error: BaseException, place: Place) -> None:
        super().__init__(
            f"{what} raised {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        )
        self.what, self.error, self.place = what, error, place


class Hangs(Exception):
    """A callable of the program did not come back in time."""


@dataclass
class Trial:
    """A model and its optimizer, begun afresh."""

    model: nn.Module
    optimizer: Optimizer


class Memory:
    """An optimizer as it was: its groups, also where one was added since, and its state."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
        self._state = kept(optimizer.state_dict())

    def restore(self) -> None:
        """Makes the optimizer what it was."""
        self.optimizer.param_groups = [{**group, "params": list(group["params"])} for group in self._groups]
        self.optimizer.load_state_dict(self._state)


@dataclass
class Case:
    """See the module. Made by `selfsight.examine`; checks only use it."""

    program: Program
    patience: float = PATIENCE
    printed: list[str] = field(default_factory=list)
    """What the program wrote to the screen."""
    _seen: dict[int, Snapshot] = field(default_factory=dict)
    _memories: dict[int, Memory] = field(default_factory=dict)
    _memory: dict[Hashable, Any] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the program gives this optional member."""
        return getattr(self.program, name) is not None

    # ------------------------------------------------------------------------------------------ calling the program

    def call(self, name: str, *given: Any, seed: int | None = 0) -> Any:
        """Calls a member of the program, with the randomness of `seed`. Raises Failed.

        Draws are replayed: two calls with one seed see the same dropout, masks and shuffles. seed=None lets the
        randomness run on from where the surrounding block is.
        """
        return self.guarded(f"Program.{name}", getattr(self.program, name), *given, seed=seed)

    def guarded(self, what: str, function: Callable[..., T], *given: Any, seed: int | None = 0) -> T:
        """Runs any code of the user's with the same care as `call`. Raises Failed."""
        said = io.StringIO()
        with (
            replayed(seed) if seed is not None else contextlib.nullcontext(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            within(self.patience),
        ):
            try:
                return function(*given)
            except Exception as error:
                raise Failed(what, error, of_error(error, what)) from error
            finally:
                if said.getvalue():
                    self.printed.append(said.getvalue())

    def model(self, seed: int = 0) -> nn.Module:
        """A fresh model, in the mode the program hands it out in. One that it hands out again is put back first."""
        model = self.call("model", seed=seed)
        if not isinstance(model, nn.Module):
            raise Failed("Program.model", TypeError(f"it gave {type(model).__name__}, not an nn.Module"), Place())
        if id(model) in self._seen:
            self._seen[id(model)].restore()
        else:
            self._seen[id(model)] = Snapshot(model)  # keeps the model alive, so that the id stays its own
        return model

    def begin(self, seed: int = 0) -> Trial:
        """A fresh model and an optimizer for it."""
        model = self.model(seed)
        optimizer = self.call("optimizer", model, seed=seed)
        if id(optimizer) in self._memories:
            self._memories[id(optimizer)].restore()
        else:
            self._memories[id(optimizer)] = Memory(optimizer)
        return Trial(model, optimizer)

    def loss(self, model: nn.Module, batch: Any, seed: int | None = 0) -> Tensor:
        """The program's loss, with its graph. What the call itself changes in the model stays changed; see `still`."""
        return self.call("loss", model, batch, seed=seed)

    def value(self, model: nn.Module, batch: Any, seed: int = 0) -> float:
        """The loss as a number, without a graph and without leaving anything changed in the model."""
        before = Snapshot(model)
        with torch.no_grad():
            loss = float(self.loss(model, batch, seed))
        before.restore()
        return loss

    def step(self, trial: Trial, batch: Any, seed: int | None = 0) -> Any:
        """One training step as the program makes it -> what its own step gave, or the loss."""
        if self.program.step is not None:
            return self.call("step", trial.model, trial.optimizer, batch, seed=seed)
        trial.optimizer.zero_grad()
        loss = self.loss(trial.model, batch, seed)
        self.guarded("backward", loss.backward, seed=None)
        self.guarded("optimizer.step", trial.optimizer.step, seed=None)
        return loss.detach()

    def said(self, model: nn.Module, batch: Any, seed: int = 0) -> dict[str, Tensor]:
        """What enters the criterion, by path: from `predict`, else what the model's outermost calls put out.

        No graph; nothing is left changed in the model.
        """
        before = Snapshot(model)
        with torch.no_grad():
            if self.program.predict is not None:
                found = numbers(self.call("predict", model, batch, seed=seed))
            else:
                with listening(model) as calls:
                    self.loss(model, batch, seed)
                outer = [call for call in calls if call.depth == 0]
                found = {
                    f"{call.name or 'model'}#{i}{path}": tensor
                    for i, call in enumerate(outer)
                    for path, tensor in numbers(call.output).items()
                }
        before.restore()
        return {path: tensor.detach().clone() for path, tensor in found.items()}

    # ------------------------------------------------------------------------------------------------ what is kept

    @cached_property
    def batches(self) -> list[Any]:
        """The first batches of a pass, kept so that nobody can change them; of large ones the first 32 examples."""
        whole = self.passed(KEPT)
        if (rows(whole[0]) or 0) <= LARGE or not self._accepts(taken(whole[0], slice(0, LARGE))):
            return whole
        return [taken(batch, slice(0, LARGE)) for batch in whole]

    def passed(self, count: int, seed: int = 0) -> list[Any]:
        """The first `count` batches of a fresh pass, with the randomness of `seed`."""
        found = self.guarded(
            "Program.batches", lambda: [kept(batch) for batch in islice(iter(self.program.batches()), count)], seed=seed
        )
        if not found:
            raise Failed("Program.batches", ValueError("it gave no batch at all"), Place())
        return found

    @cached_property
    def batch(self) -> Any:
        """A frozen batch: at most 8 examples where the program accepts so few."""
        return self._small(self.batches[0])

    @cached_property
    def other(self) -> Any:
        """Another frozen batch, of other examples; the same one where there is no second."""
        return self._small(self.batches[1] if len(self.batches) > 1 else self.batches[0])

    def _small(self, batch: Any) -> Any:
        count = rows(batch)
        if count is None or count <= SIZE:
            return batch
        small = taken(batch, slice(0, SIZE))
        return small if self._accepts(small) else batch

    def _accepts(self, batch: Any) -> bool:
        """Whether the program takes a batch of this size."""
        model = self.model()
        try:
            return bool(torch.isfinite(self.loss(model, batch).detach()).all())
        except Failed:
            return False

    @cached_property
    def scale(self) -> Reach | Unreachable:
        """What the loss of the frozen batch can become; or why that cannot be told."""
        return self.scaled(self.batch)[0]

    @cached_property
    def tail(self) -> Tail | Unreachable:
        """What stands between the last weights and the loss, on the frozen batch; or why that cannot be told."""
        return self.scaled(self.batch)[1]

    def scaled(self, batch: Any) -> tuple[Reach, Tail] | tuple[Unreachable, Unreachable]:
        """The scale of any batch."""
        if id(batch) not in self._scales:
            try:
                found: Any = reach(lambda model, given: self.loss(model, given, None), self.model(), batch)
            except Unreachable as why:
                found = (why, why)
            except Exception as error:  # the program does something that cannot be played back
                cannot = Unreachable(f"its forward pass cannot be played back ({error})")
                found = (cannot, cannot)
            self._scales[id(batch)] = (batch, found)
        return self._scales[id(batch)][1]

    @cached_property
    def _scales(self) -> dict[int, tuple[Any, Any]]:
        return {}

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave when it was first asked for under this key: what takes long is done once."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def restore(self) -> None:
        """Puts back every model and optimizer that the program handed out."""
        for snapshot in self._seen.values():
            snapshot.restore()
        for memory in self._memories.values():
            memory.restore()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises Hangs in the block when it takes longer. Only the main thread of a system with alarms can be woken."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    outer, started = signal.getitimer(signal.ITIMER_REAL)[0], time.monotonic()
    if outer and outer < seconds:
        yield
        return

    def ring(*_: Any) -> None:
        raise Hangs(f"it has not come back after {seconds:.0f} s")

    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        left = max(0.01, outer - (time.monotonic() - started)) if outer else 0.0
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def examining(program: Program, patience: float = PATIENCE) -> Iterator[Case]:
    """A case for the length of a block; afterwards everything is as it was."""
    case, gradients = Case(program, patience), torch.is_grad_enabled()
    with untouched():
        try:
            torch.set_grad_enabled(True)
            yield case
        finally:
            case.restore()
            torch.set_grad_enabled(gradients)
