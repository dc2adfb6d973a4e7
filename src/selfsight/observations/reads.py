"""Which items a pass over batches reads from its data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from selfsight.case import Case
from selfsight.instruments.words import held


def data_behind(case: Case) -> Any:
    """The data set that the program gives, else that of a loader which `batches` holds or names; None where none is."""
    if case.has("dataset"):
        return case.program.dataset
    function = case.program.batches
    code = getattr(function, "__code__", None)
    named = [function.__globals__.get(name) for name in code.co_names] if code else []
    return next((thing.dataset for thing in [*held(function), *named] if isinstance(thing, DataLoader)), None)


def read(case: Case, data: Any, count: int) -> list[set[int]]:
    """The indices that each of the first batches of a pass reads; empty sets where other processes do the reading."""
    log: set[int] = set()
    found: list[set[int]] = []

    def passed() -> None:
        for _ in islice(iter(case.program.batches()), count):
            found.append({*log})
            log.clear()

    with _logging(type(data), data, log):
        case.guarded("Program.batches", passed, seed=0)
    return found


@contextlib.contextmanager
def _logging(kind: Any, data: Any, log: set[int]) -> Iterator[None]:
    """While the block runs, what is asked of `data` is written down. Python looks item access up in the class, so it is
    listened to there."""
    own = {name: vars(kind)[name] for name in ("__getitem__", "__getitems__") if name in vars(kind)}

    def single(self: Any, index: Any) -> Any:
        if self is data and isinstance(index, int):
            log.add(index)
        return own["__getitem__"](self, index)

    def several(self: Any, indices: Any) -> Any:
        if self is data:
            log.update(index for index in indices if isinstance(index, int))
        return own["__getitems__"](self, indices)

    try:
        for name in own:
            setattr(kind, name, single if name == "__getitem__" else several)
    except TypeError:  # a list or an array: nothing can be listened to
        yield
        return
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(kind, name, function)
