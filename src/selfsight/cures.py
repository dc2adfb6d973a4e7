"""Cures: the part of a program that a finding blames, put right in the program itself, so that it can be trained again.

`swap` replaces a part while a frozen batch is fitted; most faults let a frozen batch be fitted all the same. Here the
whole program is made anew with one part replaced: it makes a short training, and the check that spoke is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils.data import DataLoader, SequentialSampler

from selfsight.case import KEPT, Case, Failed, Trial
from selfsight.check import Check, DoesNotApply, Finding
from selfsight.instruments.clock import Allowance
from selfsight.instruments.functions import uncut
from selfsight.instruments.hidden import hidden
from selfsight.instruments.nest import joined, leaves, rows, taken
from selfsight.instruments.reach import Unreachable
from selfsight.observations.items import end_of, kind, loader, own, read
from selfsight.observations.motion import watched
from selfsight.observations.redrawn import forgetful
from selfsight.program import Program
from selfsight.streaming import judged, pieces
from selfsight.swap import Untried, bare_loss, entering, names_columns, squares, textbook

EPOCHS, STEPS, SECONDS = 4, 48, 5.0
"""Passes over the kept batches and steps in a short training, at least, and about how long it may take."""
PIECES = 48
"""Pieces of a few examples that a short training is judged on, at most."""
RATE = 1e-3
MOST = 5000
"""Items of a data set that are read to count them, at most."""
Cure = tuple[str, Program]
"""(what was put in its place, in words; the program with it)."""


def cures(case: Case, finding: Finding) -> Iterator[Cure]:
    """Programs with the part that a finding blames replaced by one that is known to be good, the nearest one first."""
    makers: dict[str, tuple[Callable[[Case], Cure], ...]] = {
        "optimizer": (_own_over_all, _over_all),
        "loop": (_plain_loop,),
        "loss": (_bare, _textbook),
        "model": (_over_hidden, _uncut, _begun_anew),
    }
    of_data = {"index-contract": _counted, "frozen-augmentation": _afresh, "sorted-batches": _mixed}
    if finding.cause in of_data:
        makers["data"] = (of_data[finding.cause],)
    for make in makers.get(finding.component, ()):
        try:
            yield make(case)
        except (Untried, Failed, Unreachable, RuntimeError, ValueError, IndexError):  # it cannot be put together here
            continue


def trained(case: Case) -> Trial:
    """A model after a short training as the program makes it, the ends of its epochs included."""
    trial, allowed = case.begin(), Allowance(SECONDS)
    for epoch in range(max(EPOCHS, -(-STEPS // len(case.batches)))):
        for number, batch in enumerate(case.batches):
            if allowed.over:
                return trial
            case.step(trial, batch, epoch * KEPT + number)
        if case.has("between_epochs"):
            case.call("between_epochs", trial.model, trial.optimizer, epoch)
    return trial


def judged_on(case: Case, trial: Trial, given: list[Any]) -> list[float]:
    """The loss of each piece, by the case's own loss."""
    return [judged(case, trial, piece) for piece in given]


def shown_on(case: Case) -> list[Any]:
    """The pieces that short trainings of a program and of its cures are judged on: some of every batch."""
    parts = [pieces(batch) if rows(batch) else [batch] for batch in case.batches]
    each = max(1, PIECES // len(parts))
    return [piece for part in parts for piece in part[:each]]


def silent(case: Case, check: Check, cause: str) -> bool:
    """Whether a check, asked of this case, can be asked and no longer finds a cause."""
    try:
        return not any(finding.alarms and finding.cause == cause for finding in check.ask(case))
    except (DoesNotApply, Failed):
        return False


def _own_over_all(case: Case) -> Cure:
    """The program's optimizer, with its settings, over every weight of the model, all set free."""

    def optimizer(model: nn.Module) -> Optimizer:
        return _like(case.program.optimizer(model), _free(case, model))

    return "its optimizer over all of the model's weights", replace(case.program, optimizer=optimizer)


def _over_all(case: Case) -> Cure:
    """Adam over every weight of the model, all set free."""

    def optimizer(model: nn.Module) -> Optimizer:
        return torch.optim.Adam(_free(case, model), RATE)

    return "Adam over all of the model's weights", replace(case.program, optimizer=optimizer)


def _free(case: Case, model: nn.Module) -> list[Tensor]:
    """Every weight, set free; a momentum twin's stay out."""
    teacher = case.program.teacher
    twin = {id(weight) for weight in teacher(model).parameters()} if teacher else set[int]()
    return [weight.requires_grad_() for weight in model.parameters() if id(weight) not in twin]


def _like(optimizer: Optimizer, weights: Sequence[Tensor]) -> Optimizer:
    """An optimizer of the same kind and settings over other weights."""
    group = optimizer.param_groups[0]
    return type(optimizer)(weights, **{name: group[name] for name in optimizer.defaults if name in group})


def _plain_loop(case: Case) -> Cure:
    if case.program.step is None and case.program.between_epochs is None:
        raise Untried("the loop is plain")

    def step(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
        model.train()
        optimizer.zero_grad()
        case.program.loss(model, batch).backward()
        optimizer.step()

    return "a plain loop", replace(case.program, step=step, between_epochs=None)


def _bare(case: Case) -> Cure:
    loss = bare_loss(case)
    return "no activation before the loss", _with_loss(case, lambda model, batch: loss(model, batch, None))


def _textbook(case: Case) -> Cure:
    try:
        loss = textbook(case, case.batch)
    except Untried:
        loss = _of_predict(case, case.batch)
    return "a textbook loss on the last outputs", _with_loss(case, lambda model, batch: loss(model, batch, None))


def _of_predict(case: Case, batch: Any) -> Callable[..., Tensor]:
    """A loss that suits the targets and what the program predicts, where its own cannot be followed. Raises Untried."""
    if not case.has("predict"):
        raise Untried("it says nothing of what it predicts")
    said = list(case.said(case.model(), batch).values())
    entered = entering(case, batch)
    targets = [(path, leaf) for path, leaf in leaves(batch).items() if path not in entered and leaf.ndim]
    for at, target in targets:
        if len(said) == 1 and names_columns(target, said[0]):
            return lambda model, given, _: cross_entropy(case.call("predict", model, given), leaves(given)[at].long())
        if len(said) == 1 and target.shape == said[0].shape:
            return lambda model, given, _: squares(case.call("predict", model, given), leaves(given)[at])
    raise Untried("no target of a known kind")


def _with_loss(case: Case, loss: Callable[[nn.Module, Any], Tensor]) -> Program:
    return replace(case.program, loss=loss, step=None, predict=None, criterion=None)


def _begun_anew(case: Case) -> Cure:
    """The same model with torch's own initial weights."""

    def model() -> nn.Module:
        made = case.program.model()
        for begin in filter(None, (getattr(module, "reset_parameters", None) for module in made.modules())):
            begin()
        return made

    return "the same modules with torch's own initial weights", replace(case.program, model=model)


def _over_hidden(case: Case) -> Cure:
    """Adam over the weights of the model and over those that nn.Module does not see."""
    if not watched(case).hidden:
        raise Untried("no weights are hidden")

    def optimizer(model: nn.Module) -> Optimizer:
        return _like(case.program.optimizer(model), [*model.parameters(), *hidden(model).values()])

    return "its optimizer over its weights and the hidden ones", replace(case.program, optimizer=optimizer)


def _uncut(case: Case) -> Cure:
    """The same loss with gradients let through where the code cuts them."""
    if not watched(case).cut_off():
        raise Untried("every weight that is to be trained gets its gradient")

    def loss(model: nn.Module, batch: Any) -> Tensor:
        with uncut():
            return case.program.loss(model, batch)

    return "no no_grad and no detach", _with_loss(case, loss)


@dataclass(frozen=True)
class _Readable:
    """The items of a data set that can be read, and no others."""

    items: Any
    which: Sequence[int]

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, index: int) -> Any:
        return self.items[self.which[index]]


@dataclass(frozen=True)
class _Anew:
    """A data set whose caches are empty at each reading."""

    items: Any

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return own(self.items)[index]


def _counted(case: Case) -> Cure:
    """The same items behind a length that is true, through a loader like the program's."""
    dealt = loader(case, "batches")
    if dealt is None or not case.has("dataset"):
        raise Untried("there is no loader over a data set")
    items = own(case.program.dataset)
    count = case.guarded("len(Program.dataset)", lambda: len(items))
    known = kind(read(case, items, 0))
    end = end_of(case, items, count, {known}) or count
    which = [index for index in range(min(end, MOST)) if _reads(case, items, index)]
    if len(which) == count == end or not which:
        raise Untried("every item can be read, and no others")
    return "the items that can be read, counted", _dealt(case, dealt, _Readable(items, which))


def _afresh(case: Case) -> Cure:
    """The same items, read by a data set that remembers nothing."""
    dealt = loader(case, "batches")
    if dealt is None or not case.has("dataset"):
        raise Untried("there is no loader over a data set")
    return "items that are read anew each time", _dealt(case, dealt, _Anew(forgetful(case, case.program.dataset, 0)))


def _dealt(case: Case, dealt: DataLoader[Any], items: Any) -> Program:
    """The program over other items, through a loader like its own."""

    def batches() -> DataLoader[Any]:
        shuffled = not isinstance(dealt.sampler, SequentialSampler)
        return DataLoader(
            items, dealt.batch_size, shuffle=shuffled, collate_fn=dealt.collate_fn, drop_last=dealt.drop_last
        )

    return replace(case.program, dataset=items, batches=batches)


def _reads(case: Case, items: Any, index: int) -> bool:
    try:
        read(case, items, index)
    except Failed:
        return False
    return True


def _mixed(case: Case) -> Cure:
    """The same examples, dealt into batches at random."""
    whole = case.guarded("Program.batches", lambda: list(case.program.batches()), seed=0)
    size = rows(whole[0])
    if size is None or len(whole) < 2:
        raise Untried("batches cannot be parted")
    examples = joined(whole)
    count = rows(examples) or 0

    def batches() -> Iterator[Any]:
        order = torch.randperm(count)
        for start in range(0, count - size + 1, size):
            yield taken(examples, order[start : start + size].tolist())

    return "the same examples, dealt at random", replace(case.program, batches=batches)
