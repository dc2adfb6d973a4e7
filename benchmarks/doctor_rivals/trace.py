"""Runs a program for some of its own steps and writes down what the rules of other tools look at.

Those tools watch epochs; here a window of steps stands for one. The program is run in the open: nothing of it is changed, and the
global random state is as it was afterwards. Accuracy is known only where a program gives `predict` and a batch holds whole numbers
of the shape that its logits ask for. A loss that the program's own step does not return is evaluated before the step.

Shapes: N examples, K classes, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from doctor_odd.training import batches, kept_randomness, one_step
from torch import Tensor, nn

from doctor_rivals.calls import Call, Watch
from selfsight.program import Program


@dataclass(frozen=True)
class Gradient:
    """One parameter's gradient as the optimizer met it."""

    norm: float
    mean_abs: float
    zeros: float
    """Share of entries that are exactly 0."""
    finite: bool
    update: float
    """Rate times gradient norm over weight norm."""
    kernel: bool
    """Whether the parameter has more than one dimension."""


@dataclass(frozen=True)
class Weight:
    variance: float
    largest: float
    kernel: bool
    trained: bool
    """Whether it asks for a gradient and is in the optimizer."""
    moved: bool
    """Whether any of its bits changed over the whole trace."""
    finite: bool
    twin: bool
    """Whether it belongs to the program's `teacher`."""


@dataclass(frozen=True)
class Range:
    low: float
    high: float
    finite: bool


@dataclass(frozen=True)
class Window:
    """What stands for an epoch. Accuracy and validation are None where they cannot be told."""

    loss: float
    accuracy: float | None
    held_loss: float | None
    held_accuracy: float | None
    gradients: dict[str, Gradient]
    calls: list[Call]


@dataclass
class Trace:
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """The first rate of the optimizer at every step."""
    windows: list[Window] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    input_floating: bool | None = None
    input: Range | None = None
    outputs: Range | None = None
    targets: Range | None = None
    """Of floating targets of the outputs' shape."""
    classes: int | None = None
    """K, where the targets are whole numbers and the outputs logits for them."""
    probabilities: bool | None = None
    """Whether the outputs of each example lie in 0..1 and sum to 1."""
    softmax_inside: bool | None = None
    """Whether the criterion does not see a number added to all of one example's outputs."""
    prediction_calls: list[Call] | None = None
    dropout: list[float] = field(default_factory=list)
    embedding: Tensor | None = None
    """(N, D) after the last step."""
    error: str | None = None
    """What the program raised, if it did."""


def tensors(batch: Any) -> Iterator[Tensor]:
    """All tensors of a nest, in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, dict):
        for value in batch.values():
            yield from tensors(value)
    elif isinstance(batch, list | tuple):
        for value in batch:
            yield from tensors(value)


def span(values: Tensor) -> Range | None:
    if not values.numel():
        return None
    values = values.detach().float()
    return Range(float(values.min()), float(values.max()), bool(torch.isfinite(values).all()))


def class_targets(batch: Any, outputs: Any) -> Tensor | None:
    """The whole numbers of a batch that index the second axis of `outputs`, if it has any."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[1] < 2:
        return None
    shape = outputs.shape[:1] + outputs.shape[2:]
    for tensor in reversed(list(tensors(batch))):
        if tensor.dtype == torch.long and tensor.shape == shape:
            asked = tensor[(tensor >= 0) & (tensor != 255)]
            if len(asked) and int(asked.max()) < outputs.shape[1]:
                return tensor
    return None


def real_targets(batch: Any, outputs: Any) -> Tensor | None:
    """The last floating tensor of a batch that has the shape of `outputs`, if there is one."""
    if not isinstance(outputs, Tensor):
        return None
    matching = [t for t in tensors(batch) if t.is_floating_point() and t.shape == outputs.shape]
    return matching[-1] if matching else None


@contextmanager
def looked_at(model: nn.Module, as_it_is: bool = False) -> Iterator[None]:
    """The model in eval mode (or `as_it_is`), without gradients; state, modes and random state come back afterwards."""
    modes = {module: module.training for module in model.modules()}
    state = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            if not as_it_is:
                model.eval()
            yield
    finally:
        model.load_state_dict(state, strict=False)
        for module, mode in modes.items():
            module.training = mode


def evaluated(program: Program, model: nn.Module, some: list[Any]) -> tuple[float | None, float | None]:
    """Mean loss and accuracy of some batches, in eval mode."""
    losses, right, asked = [], 0, 0
    with looked_at(model):
        for batch in some:
            if program.predict is None or program.criterion is None:
                losses.append(float(program.loss(model, batch)))
                continue
            outputs = program.predict(model, batch)
            losses.append(float(program.criterion(outputs, batch)))
            targets = class_targets(batch, outputs)
            if targets is not None:
                known = (targets >= 0) & (targets != 255)
                right += int((outputs.argmax(1) == targets)[known].sum())
                asked += int(known.sum())
    return (sum(losses) / len(losses) if losses else None), (right / asked if asked else None)


class _Recorder:
    """Follows one training; `finish` turns what it saw into the trace."""

    def __init__(self, program: Program, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.program, self.model, self.optimizer = program, model, optimizer
        self.trace = Trace(dropout=[m.p for m in model.modules() if isinstance(m, nn.Dropout)])
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.first = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.gradients: dict[str, Gradient] = {}
        self.recent: list[Any] = []
        self.opened = 0
        optimizer.register_step_pre_hook(lambda *_: self._gradients())
        held = program.validation() if program.validation is not None else []
        self.held = list(islice(held, 4))

    @torch.no_grad()
    def _gradients(self) -> None:
        for group in self.optimizer.param_groups:
            for weight in group["params"]:
                if weight.grad is None or id(weight) not in self.names:
                    continue
                grad = weight.grad.float()
                norm = float(grad.norm())
                self.gradients[self.names[id(weight)]] = Gradient(
                    norm=norm,
                    mean_abs=float(grad.abs().mean()),
                    zeros=float((grad == 0).float().mean()),
                    finite=bool(torch.isfinite(grad).all()),
                    update=float(group.get("lr", 0.0)) * norm / max(float(weight.float().norm()), 1e-12),
                    kernel=weight.ndim > 1,
                )

    def step(self, batch: Any, closes: bool) -> None:
        """One step of the program; at the end of a window the layers are watched and a window is written."""
        if self.trace.input is None:
            self._input(batch)
        self.recent = [*self.recent[-3:], batch]
        before = float("nan")
        if self.program.step is not None:
            with looked_at(self.model, as_it_is=True):
                before = float(self.program.loss(self.model, batch))
        watch = Watch()
        with watch if closes else nullcontext():
            said = one_step(self.program, self.model, self.optimizer, batch)
        scalar = isinstance(said, int | float) or (isinstance(said, Tensor) and said.numel() == 1)
        self.trace.losses.append(float(said.detach() if isinstance(said, Tensor) else said) if scalar else before)
        self.trace.rates.append(float(self.optimizer.param_groups[0].get("lr", 0.0)))
        if closes:
            self._window(watch.calls)

    def _input(self, batch: Any) -> None:
        """The first tensor with more than one dimension is what the net is fed."""
        for tensor in tensors(batch):
            if tensor.ndim > 1:
                self.trace.input = span(tensor)
                self.trace.input_shape = tuple(tensor.shape)
                self.trace.input_floating = tensor.is_floating_point()
                return

    def _window(self, calls: list[Call]) -> None:
        losses = self.trace.losses[self.opened :]
        self.opened = len(self.trace.losses)
        accuracy = evaluated(self.program, self.model, self.recent)[1]
        held_loss, held_accuracy = evaluated(self.program, self.model, self.held) if self.held else (None, None)
        self.trace.windows.append(
            Window(sum(losses) / len(losses), accuracy, held_loss, held_accuracy, dict(self.gradients), calls)
        )

    def finish(self) -> Trace:
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        twins = set()
        if self.program.teacher is not None:
            twins = {id(p) for p in self.program.teacher(self.model).parameters()}
        for name, p in self.model.named_parameters():
            first = self.first.get(name)
            self.trace.weights[name] = Weight(
                variance=float(p.detach().float().var(correction=0)) if p.numel() else 0.0,
                largest=float(p.detach().abs().max()) if p.numel() else 0.0,
                kernel=p.ndim > 1,
                trained=p.requires_grad and id(p) in trained,
                moved=first is None or first.shape != p.shape or not torch.equal(first, p.detach()),
                finite=bool(torch.isfinite(p).all()),
                twin=id(p) in twins,
            )
        batch = self.recent[-1]
        with looked_at(self.model):
            if self.program.predict is not None:
                self._prediction(batch)
            if self.program.embed is not None:
                self.trace.embedding = torch.cat([self.program.embed(self.model, one).float() for one in self.recent])
        return self.trace

    def _prediction(self, batch: Any) -> None:
        """What the outputs and targets of one batch tell."""
        assert self.program.predict is not None
        assert self.program.criterion is not None
        with Watch() as watch:
            outputs = self.program.predict(self.model, batch)
        self.trace.prediction_calls = watch.calls
        if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
            return
        self.trace.outputs = span(outputs)
        wanted = real_targets(batch, outputs)
        if wanted is not None:
            self.trace.targets = span(wanted)
        if class_targets(batch, outputs) is not None:
            self.trace.classes = outputs.shape[1]
            sums = outputs.sum(1)
            self.trace.probabilities = bool((outputs >= 0).all() and (sums - 1).abs().max() < 1e-3)
            shifted = outputs + torch.linspace(-1, 1, len(outputs)).view(-1, *[1] * (outputs.ndim - 1))
            one, other = (float(self.program.criterion(o, batch)) for o in (outputs, shifted))
            self.trace.softmax_inside = abs(one - other) <= 1e-4 * max(abs(one), 1e-3)


def record(program: Program, steps: int = 60, windows: int = 6, seed: int = 0) -> Trace:
    """The trace of `steps` steps from a fresh model, in `windows` windows. An exception ends it and is kept as its `error`."""
    recorder: _Recorder | None = None
    with kept_randomness(seed):
        try:
            model = program.model()
            optimizer = program.optimizer(model)
            recorder = _Recorder(program, model, optimizer)
            ends = {steps * (k + 1) // windows for k in range(windows)}
            for number, batch in enumerate(batches(program, model, optimizer, steps), start=1):
                recorder.step(batch, closes=number in ends)
            return recorder.finish()
        except Exception as error:
            trace = recorder.trace if recorder is not None else Trace()
            trace.error = f"{type(error).__name__}: {error}"
            return trace
