"""The scale on which progress is measured without tuning: the best constant answer, and the best answer of all.

    progress = (L_const - L) / (L_const - L_free)

L_const: the least loss with the same output for every example; L_free: the least loss with free outputs. Both are found
by minimising over the *outputs* of the last modules with weights, through the program's own activation, normalisation
and loss; no training is needed. Our own construction; the constant answer is the usual baseline of a prior.

Shapes: a slot's tensor is (N, ...), a constant is (1, ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.instruments.calls import Call, Slot, listening, playing, slots_of
from selfsight.instruments.clock import Allowance
from selfsight.instruments.functions import ACTIVATIONS, CRITERIA, Used, noting, without_activations
from selfsight.instruments.randomness import replayed
from selfsight.instruments.snapshot import Snapshot

SECONDS = 1.5
"""About how long one minimisation may take."""
BOTTOM = 1e6
"""A loss that has fallen below zero by so many times its first value goes on falling; it is not followed further."""
TINY = 1e-12
"""A first value below this is none to measure by. Lengths in metres of parts of millimetres gave losses of 4e-6, and in
their own units neither LBFGS nor Adam moved: what is small is told beside the first value."""
GROWTH = 5.0
"""How much faster each tenfold scaling has to lower the loss to be called without end; a line's factor is 10."""

Loss = Callable[[nn.Module, Any], Tensor]
Found = tuple[float, list[Tensor]]
"""The least loss and where it is."""


class Unreachable(Exception):
    """Why there is no scale for this program."""


@dataclass(frozen=True)
class Answer:
    """The least loss that was found, and the outputs that give it."""

    loss: float
    outputs: dict[Slot, Tensor]
    endless: bool
    """Scaling the outputs up lowers the loss for ever."""


@dataclass(frozen=True)
class Reach:
    """What the loss of one batch can become."""

    constant: Answer
    free: Answer
    bare: float | None
    """The least loss with free outputs when the last activations are left out; None where there are none."""
    start: float
    """The loss of the model this was made with."""

    @property
    def wide(self) -> bool:
        """Whether there is room between the constant and the best answer."""
        room = self.constant.loss - self.free.loss
        return self.free.endless or room > 1e-4 * max(
            1e-3 * abs(self.start), abs(self.constant.loss), abs(self.free.loss)
        )

    def progress(self, loss: float) -> float:
        """0 at the best constant answer, 1 at the best answer of all; below 0 is worse than a constant."""
        if not self.wide or self.free.endless:
            return math.nan
        return (self.constant.loss - loss) / (self.constant.loss - self.free.loss)


class Tail:
    """The part of a program between the last modules with weights and its loss, with their outputs as arguments."""

    def __init__(self, loss: Loss, model: nn.Module, batch: Any, seed: int = 0) -> None:
        self._loss, self._model, self._batch, self._seed = loss, model, batch, seed
        self._before = Snapshot(model)
        self.calls: list[Call] = []
        self.start = self._record()
        self.unit = abs(self.start) if TINY < abs(self.start) < math.inf else 1.0
        self.slots = self._frontier()
        self.used: list[Used] = self._listen()

    def _record(self) -> float:
        with replayed(self._seed), listening(self._model, keep=True) as calls:
            value = self._loss(self._model, self._batch)
        self._moved = self._before.moved()  # what a call changes, it changes in this one, where everything is computed
        self._before.restore()
        self.calls = calls
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise Unreachable("the loss is not one number")
        return float(value.detach())

    def _frontier(self) -> dict[Slot, Tensor]:
        """The outputs that reach the loss without passing another module with weights."""
        slots = slots_of(self._model, self.calls)
        free = {slot: tensor.clone().requires_grad_() for slot, tensor in slots.items()}
        value = self(free)
        if not value.requires_grad:
            raise Unreachable("no gradient leads from the loss to a module with weights")
        gradients = torch.autograd.grad(value, list(free.values()), allow_unused=True)
        found = {slot: slots[slot] for slot, gradient in zip(free, gradients, strict=True) if gradient is not None}
        if not found:
            raise Unreachable("no output of a module with weights reaches the loss")
        return found

    def _listen(self) -> list[Used]:
        """The activations and torch losses behind the last weights, in order, each with what it was given."""
        marked = {slot: tensor.clone().requires_grad_() for slot, tensor in self.slots.items()}
        with noting(ACTIVATIONS | CRITERIA) as used:
            self(marked)
        return [
            call for call in used if call.inputs and isinstance(call.inputs[0], Tensor) and call.inputs[0].requires_grad
        ] + [call for call in used if not call.inputs and getattr(call.named.get("input"), "requires_grad", False)]

    def __call__(self, outputs: Mapping[Slot, Tensor], *, bare: bool = False) -> Tensor:
        """The loss with some outputs replaced; bare leaves activations out."""
        with (
            replayed(self._seed),
            playing(self._model, self.calls, outputs),
            without_activations() if bare else nullcontext(),
        ):
            value = self._loss(self._model, self._batch)
        self._before.restore(self._moved)
        return value

    def least(self, *, constant: bool = False, bare: bool = False, seconds: float = SECONDS) -> Answer:
        """The least loss over free outputs, or over outputs that are the same for every example.

        A constant is the same in every call of its module: a net that ignores its input cannot tell an anchor from a
        negative either.
        """
        groups = self._groups()

        def spread(values: Sequence[Tensor]) -> dict[Slot, Tensor]:
            if not constant:
                return dict(zip(self.slots, values, strict=True))
            same = dict(zip(groups, values, strict=True))
            return {slot: same[key].expand_as(self.slots[slot]) for key, slots in groups.items() for slot in slots}

        def value(values: Sequence[Tensor]) -> Tensor:
            return self(spread(values), bare=bare).double() / self.unit

        best, found = math.inf, list[Tensor]()
        allowed = Allowance(seconds)
        for start, lower in self._starts(constant):
            loss, values = lower(value, start, allowed)
            settled = abs(loss - best) <= 1e-5 * max(1e-3, abs(best)) or loss < -BOTTOM
            if loss < best:
                best, found = loss, values
            if settled:  # two ways down end at one place
                break
        if not found:
            raise Unreachable("the loss is not finite for any output that was tried")
        return Answer(*self._scaled(value, spread, best, found))

    def _groups(self) -> dict[tuple[str, str, tuple[int, ...]], list[Slot]]:
        """Slots that one constant would fill: those of one module, place in its output and shape of a row."""
        groups: dict[tuple[str, str, tuple[int, ...]], list[Slot]] = {}
        for slot, tensor in self.slots.items():
            groups.setdefault((slot.module, slot.path, tuple(tensor.shape[1:])), []).append(slot)
        return groups

    def _starts(self, constant: bool) -> list[tuple[list[Tensor], Callable[..., Found]]]:
        drawn = torch.Generator().manual_seed(0)
        # laid out row by row: LBFGS cannot flatten channels-last gradients, and would stay where it began
        now = [tensor.detach().float().contiguous() for tensor in self.slots.values()]
        if constant:
            first = [self.slots[slots[0]].detach().float() for slots in self._groups().values()]
            now = [tensor.mean(0, keepdim=True) if tensor.ndim else tensor for tensor in first]
        noise = [torch.randn(t.shape, generator=drawn).to(t) * t.std(correction=0).clamp_min(1e-3) for t in now]
        wide = [torch.randn(t.shape, generator=drawn).to(t) for t in now]
        return [(now, _quickly), (wide, _steadily), (noise, _quickly), (now, _steadily)]

    def _scaled(
        self,
        value: Callable[[Sequence[Tensor]], Tensor],
        spread: Callable[[Sequence[Tensor]], dict[Slot, Tensor]],
        best: float,
        found: list[Tensor],
    ) -> tuple[float, dict[Slot, Tensor], bool]:
        """Tries larger outputs, as a loss like cross-entropy has its least value at infinity. `value` is in units."""
        losses = [best]
        with torch.no_grad():
            for factor in (10.0, 100.0, 1000.0, 10000.0):
                loss = float(value([tensor * factor for tensor in found]))
                losses.append(loss if math.isfinite(loss) else math.nan)
        falls = [one - other for one, other in pairwise(losses[1:])]
        growing = all(later > GROWTH * earlier for earlier, later in pairwise(falls))
        endless = best < -BOTTOM or (growing and all(fall > 0 for fall in falls))
        lowest = min((loss, i) for i, loss in enumerate(losses) if not math.isnan(loss))
        if lowest[1] and lowest[0] < best:
            found = [tensor * 10.0 ** lowest[1] for tensor in found]
            best = lowest[0]
        return best * self.unit, {slot: tensor.detach() for slot, tensor in spread(found).items()}, endless


def _quickly(value: Callable[..., Tensor], start: list[Tensor], allowed: Allowance) -> Found:
    """LBFGS: few evaluations where the loss is smooth."""
    free = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = torch.optim.LBFGS(free, max_iter=60, history_size=20, line_search_fn="strong_wolfe")
    return _lowered(optimizer, value, free, allowed, rounds=2)


def _steadily(value: Callable[..., Tensor], start: list[Tensor], allowed: Allowance) -> Found:
    """Adam with a falling rate: for losses with kinks and flat places."""
    free = [tensor.clone().requires_grad_() for tensor in start]
    scale = max(1.0, *(float(tensor.abs().max()) for tensor in start if tensor.numel()))
    optimizer = torch.optim.Adam(free, lr=0.3 * scale)
    return _lowered(optimizer, value, free, allowed, rounds=150)


def _lowered(
    optimizer: torch.optim.Optimizer,
    value: Callable[..., Tensor],
    free: list[Tensor],
    allowed: Allowance,
    rounds: int,
) -> Found:
    """Follows the gradient -> (least loss, where), (inf, []) where no loss was finite."""
    best, where = math.inf, list[Tensor]()

    def evaluate() -> Tensor:
        nonlocal best, where
        optimizer.zero_grad()
        loss = value(free)
        if math.isfinite(float(loss.detach())):
            if float(loss.detach()) < best:
                best, where = float(loss.detach()), [tensor.detach().clone() for tensor in free]
            loss.backward()
        return loss

    for number in range(rounds):
        if (allowed.over and where) or best < -BOTTOM:
            break
        for group in optimizer.param_groups:
            if rounds > 10:
                group["lr"] *= 0.98
        try:
            optimizer.step(evaluate)  # type: ignore[arg-type]
        except IndexError:  # torch's line search, where the loss has no lowest point
            break
        except Exception:
            if not where:
                raise
            break  # it stepped off the numbers, which torch's BCE, for one, refuses
        if number == 0 and not where:
            break
    return best, where


def reach(loss: Loss, model: nn.Module, batch: Any, seed: int = 0) -> tuple[Reach, Tail]:
    """The scale of one batch. Raises Unreachable where the program gives no way to replace its outputs."""
    tail = Tail(loss, model, batch, seed)
    bare = None
    if any(used.name in ACTIVATIONS for used in tail.used):
        try:
            answer = tail.least(bare=True)
            bare = None if answer.endless else answer.loss  # a criterion that needs its log_softmax, for one
        except Exception:  # some losses refuse what no activation has bounded
            bare = None
    return Reach(tail.least(constant=True), tail.least(), bare, tail.start), tail
