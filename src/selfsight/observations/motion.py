"""What really moves when a program makes its own steps: gradients, optimizer calls and changed bits, in their order.

The program's own step runs some two dozen times over its own batches, then its `between_epochs`, twice. Gradients are
seen where they are added to a parameter, optimizer steps where any optimizer enters one. Where nothing has moved yet
(accumulation, skipped steps, a rate of 0 at first) more steps are made before that is said.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from selfsight.case import Case, Trial
from selfsight.instruments.clock import Allowance
from selfsight.instruments.hidden import hidden
from selfsight.instruments.snapshot import same
from selfsight.instruments.twins import shared

STEPS = 24
"""Own steps that are watched where everything moves at once."""
LONGEST = 200
"""Own steps after which it is said that nothing moves. Accumulation over 32 batches, five of whose steps are skipped in
half precision, with a rate of 0 at the first, has moved by then."""
SECONDS = 5.0
"""Of the processor; after them no steps beyond STEPS are made."""
EPOCHS = 2
"""Ends of epochs that are watched."""
BETWEEN = 3
"""Own steps between two of them."""

Values = dict[str, Tensor]


@dataclass
class Moment:
    """One own step."""

    rates: list[float] = field(default_factory=list)
    """The largest rate of each optimizer step in it."""
    order: list[str] = field(default_factory=list)
    """"backward" and "step" as they came, repetitions left out."""
    empty: int = 0
    """Optimizer steps entered with no gradient on any of the optimizer's tensors."""
    kept: set[str] = field(default_factory=set)
    """Tensors whose gradient, when the optimizer stepped, still held what its last step had used."""
    moved: set[str] = field(default_factory=set)
    """Tensors of which a bit changed."""


@dataclass
class End:
    """What one call of between_epochs did."""

    before: Values
    after: Values
    replaced: set[str]
    """Parameters that are another tensor than before, and in no optimizer."""


@dataclass
class Motion:
    """See the module. Tensors go by name: a parameter's, a hidden one's path, or "optimizer tensor 3"."""

    parameters: list[str]
    """The model's own, in order."""
    hidden: list[str]
    trainable: set[str]
    """requires_grad, when the training begins."""
    given: set[str]
    """In the optimizer that Program.optimizer gives."""
    teacher: set[str]
    """The momentum twin's, without what it shares with the student."""
    first: Values
    last: Values = field(default_factory=dict)
    previous: Values = field(default_factory=dict)
    """Before the last own step, as `last` is after it and before between_epochs."""
    held: set[str] = field(default_factory=set)
    """In any optimizer that stepped, or in the given one."""
    graded: Counter[str] = field(default_factory=Counter)
    """Gradients with a number that is not 0, by tensor."""
    touched: set[str] = field(default_factory=set)
    """Ever reached by a gradient, be it 0."""
    cleared: Counter[str] = field(default_factory=Counter)
    """How often a gradient began anew."""
    driven: set[str] = field(default_factory=set)
    """Of the teacher: changed while an optimizer stepped."""
    moments: list[Moment] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)

    @property
    def moved(self) -> set[str]:
        """Tensors that any step or end of an epoch changed."""
        between = {name for end in self.ends for name in end.after if not same(end.after[name], end.before.get(name))}
        return between.union(*(moment.moved for moment in self.moments))

    def idle(self, names: Iterable[str]) -> list[str]:
        """Of these: trainable and reached by gradients, but in no optimizer, and never moved. The twin is left out."""
        out = self.held | self.moved | self.teacher
        return [name for name in names if name in self.trainable and self.graded[name] and name not in out]

    def foreign(self) -> list[str]:
        """In the optimizer, not in the model, and no use to anybody: no gradient, no movement."""
        known = {*self.parameters, *self.hidden, *self.teacher, *self.moved, *+self.graded}
        return sorted(self.given - known)

    def may_stay(self, names: list[str], drawn: set[str]) -> bool:
        """Whether these weights may be left out on purpose: they were loaded, not drawn; or, where nothing is drawn, no
        whole part of the model behind a trained one is among them."""
        if drawn:
            return not drawn.intersection(names)
        heads = dict.fromkeys(name.split(".")[0] for name in self.parameters)
        parts = [{name for name in self.parameters if name.split(".")[0] == head} for head in heads]
        trained = [i for i, part in enumerate(parts) if part & self.held]
        return not any(part <= set(names) and i > min(trained, default=i) for i, part in enumerate(parts))

    def cut_off(self) -> list[str]:
        """To be trained by an optimizer, and never reached by a gradient nor moved. The twin is left out."""
        due = (self.held & self.trainable) - self.touched - self.moved - self.teacher - {*+self.graded}
        return [name for name in self.parameters if name in due]

    @property
    def rates(self) -> list[float]:
        """The largest rate of each own step in which an optimizer stepped."""
        return [max(moment.rates) for moment in self.moments if moment.rates]


def watched(case: Case) -> Motion:
    """The program's own training, watched once and kept with the case."""
    return case.remembered(("motion",), lambda: _watch(case))


def drawn(case: Case) -> set[str]:
    """Parameters, hidden ones too, that differ between two models made with different seeds: drawn, not loaded."""

    def differing() -> set[str]:
        one = {name: tensor.detach().clone() for name, tensor in _named(case.model(0)).items()}
        other = _named(case.model(1))
        return {name for name in one if name in other and not same(one[name], other[name].detach())}

    return case.remembered(("drawn",), differing)


def rate(optimizer: Optimizer) -> float:
    """The largest learning rate of an optimizer; nan where it has none."""
    return max((float(group["lr"]) for group in optimizer.param_groups if "lr" in group), default=math.nan)


def tensors_of(optimizer: Optimizer) -> list[Tensor]:
    """Every tensor that an optimizer holds."""
    return [tensor for group in optimizer.param_groups for tensor in group["params"]]


def _named(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **hidden(model)}


def _watch(case: Case) -> Motion:
    trial = case.begin()
    ledger = _Ledger(case, trial)
    motion, planned = ledger.motion, case.program.planned_steps or LONGEST
    allowed = Allowance(SECONDS)
    batches = case.batches
    with ledger, regrouped(trial.optimizer):
        while len(motion.moments) < min(planned, LONGEST):
            if len(motion.moments) >= STEPS and (ledger.settled or allowed.over):
                break
            ledger.step(batches[len(motion.moments) % len(batches)])
        motion.last = ledger.values()
        for epoch in range(EPOCHS if case.has("between_epochs") else 0):
            ledger.end(epoch)
            for batch in batches[:BETWEEN] if epoch + 1 < EPOCHS else []:
                ledger.step(batch)
    return motion


class _Ledger:
    """Writes down what happens to a trial. Ticks order events in time."""

    def __init__(self, case: Case, trial: Trial) -> None:
        self.case, self.trial, self.tick = case, trial, 0
        self.tensors = _named(trial.model)
        own = list(dict(trial.model.named_parameters()))
        self.names = {id(tensor): name for name, tensor in self.tensors.items()}
        for tensor in tensors_of(trial.optimizer):
            self.name(tensor)
        teacher = case.call("teacher", trial.model) if case.has("teacher") else None
        common = {*shared(trial.model, teacher)} if teacher is not None else set()
        twin = [p for name, p in teacher.named_parameters() if name not in common] if teacher is not None else []
        self.motion = Motion(
            parameters=own,
            hidden=[name for name in self.tensors if name not in own and not name.startswith("optimizer tensor")],
            trainable={name for name, tensor in self.tensors.items() if tensor.requires_grad},
            given={self.name(tensor) for tensor in tensors_of(trial.optimizer)},
            teacher={self.name(tensor) for tensor in twin},
            first=self.values(),
        )
        self.motion.held |= self.motion.given
        self.waits = {  # a twin that began as a copy is expected to move
            name for name in self.motion.teacher if self.tensors[name].ndim > 1 and self._copied(name)
        }
        self.added: dict[str, int] = {}
        self.cleared: dict[str, int] = {}
        self.stepped: dict[int, int] = {}
        self.entered: Values = {}
        self.hooked: dict[int, list[Any]] = {}

    def name(self, tensor: Tensor) -> str:
        """The tensor's name; one that is met for the first time gets one."""
        if id(tensor) not in self.names:
            self.names[id(tensor)] = f"optimizer tensor {len(self.names)} of shape {tuple(tensor.shape)}"
            self.tensors[self.names[id(tensor)]] = tensor
        return self.names[id(tensor)]

    def values(self) -> Values:
        """Every tensor as it is now."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    def _copied(self, name: str) -> bool:
        first = self.motion.first
        return any(same(first[name], first[other]) for other in first if other not in self.motion.teacher)

    @property
    def settled(self) -> bool:
        moved = self.motion.moved
        return bool(moved) and (not self.waits or bool(self.waits & moved))

    def __enter__(self) -> _Ledger:
        self.globals = [
            register_optimizer_step_pre_hook(lambda optimizer, *_: self.enters(optimizer)),
            register_optimizer_step_post_hook(lambda optimizer, *_: self.leaves(optimizer)),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in [*self.globals, *(handle for handles in self.hooked.values() for handle in handles)]:
            handle.remove()

    def step(self, batch: Any) -> None:
        """One own step, written down."""
        self.motion.moments.append(Moment())
        self.hook()
        before = self.values()
        if not self.motion.last:
            self.motion.previous = before
        self.case.step(self.trial, batch, seed=len(self.motion.moments))
        self.motion.moments[-1].moved = {
            name for name, value in before.items() if not same(self.tensors[name].detach(), value)
        }

    def end(self, epoch: int) -> None:
        """One end of an epoch."""
        before, objects = self.values(), dict(self.trial.model.named_parameters())
        with quietly():
            self.case.call("between_epochs", self.trial.model, self.trial.optimizer, epoch)
        held = {id(tensor) for tensor in tensors_of(self.trial.optimizer)}
        now = dict(self.trial.model.named_parameters())
        replaced = {name for name in now if now[name] is not objects.get(name) and id(now[name]) not in held}
        after = {**self.values(), **{name: tensor.detach().clone() for name, tensor in now.items()}}
        self.motion.ends.append(End(before, after, {name for name in replaced if name in objects}))

    def hook(self) -> None:
        for name, tensor in self.tensors.items():
            if tensor.requires_grad and tensor.is_leaf and id(tensor) not in self.hooked:
                self.hooked[id(tensor)] = [
                    tensor.register_hook(lambda _, name=name: self.arrives(name)),
                    tensor.register_post_accumulate_grad_hook(lambda _, name=name: self.adds(name)),
                ]

    def arrives(self, name: str) -> None:
        """A gradient is about to be added to what is there."""
        if not filled(self.tensors[name].grad):
            self.tick += 1
            self.cleared[name] = self.tick
            self.motion.cleared[name] += 1

    def adds(self, name: str) -> None:
        self.tick += 1
        self.added[name] = self.tick
        self.motion.touched.add(name)
        self.motion.graded[name] += filled(self.tensors[name].grad)
        self.note("backward")

    def enters(self, optimizer: Optimizer) -> None:
        """Any optimizer begins a step."""
        moment, since, full = self.motion.moments[-1], self.stepped.get(id(optimizer), 0), False
        self.note("step")
        moment.rates.append(rate(optimizer))
        for tensor in tensors_of(optimizer):
            name = self.name(tensor)
            self.motion.held.add(name)
            if filled(tensor.grad):
                full = True
                self.motion.graded[name] += name not in self.motion.touched
                if since and self.added.get(name, 0) > since >= self.cleared.get(name, 0):
                    moment.kept.add(name)
        moment.empty += not full
        self.tick += 1
        self.stepped[id(optimizer)] = self.tick
        self.entered = {name: self.tensors[name].detach().clone() for name in self.motion.teacher}

    def leaves(self, optimizer: Optimizer) -> None:
        self.motion.driven |= {
            name for name, value in self.entered.items() if not same(self.tensors[name].detach(), value)
        }

    def note(self, event: str) -> None:
        order = self.motion.moments[-1].order
        if order[-1:] != [event]:
            order.append(event)


def filled(gradient: Tensor | None) -> bool:
    """Whether a gradient is there and not all 0."""
    if gradient is None:
        return False
    return bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any())


@contextlib.contextmanager
def regrouped(optimizer: Optimizer) -> Iterator[None]:
    """Groups that the block adds to an optimizer are taken away again."""
    count = len(optimizer.param_groups)
    try:
        yield
    finally:
        del optimizer.param_groups[count:]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Schedules complain when no step was made before them; only the doctor drives them so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
