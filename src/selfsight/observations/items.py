"""The items behind a program's batches: read without leaving a trace, told apart bit by bit, and what hangs on them.

A data set may keep what it has read, take files off its own list, or draw from a generator of its own. So it is read
through a copy that owns its lists, caches and generators, and shares everything big.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import random
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from selfsight.case import Case, Failed

SHARED = (Tensor, np.ndarray, nn.Module, type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, torch.dtype, torch.device, torch.Size)
DRAWS = (random.Random, np.random.Generator, np.random.RandomState)
LONG = 256
"""A list longer than this is copied, its elements are not looked at: they are paths or pictures."""
FAR = 64
"""Behind so many lengths a data set counts as one without end: it wraps around or makes its items up."""
MANY = 2000
"""Objects that are copied at most; what hangs further away is shared."""


def own(value: Any, known: dict[int, Any] | None = None) -> Any:
    """A copy that owns its lists, dicts and random generators, and shares tensors, arrays, modules and functions."""
    known = {} if known is None else known
    if isinstance(value, SHARED + PLAIN):
        return value
    if id(value) in known or len(known) > MANY:
        return known.get(id(value), value)
    if isinstance(value, torch.Generator):
        return known.setdefault(id(value), torch.Generator(value.device).set_state(value.get_state()))
    if isinstance(value, DRAWS):
        return known.setdefault(id(value), copy.deepcopy(value))
    if type(value) not in (list, tuple, set, dict) and not hasattr(value, "__dict__"):
        return value
    try:
        twin = known[id(value)] = copy.copy(value)
    except Exception:  # handles and locks cannot be copied
        return value
    if twin is value:
        return value
    if isinstance(twin, list | dict) and len(twin) <= LONG:
        for key in range(len(twin)) if isinstance(twin, list) else list(twin):
            twin[key] = own(twin[key], known)
    elif type(twin) is tuple and len(twin) <= LONG:
        return tuple(own(item, known) for item in twin)
    for name, held in list(getattr(twin, "__dict__", {}).items()):
        twin.__dict__[name] = own(held, known)
    return twin


def inside(root: Any, limit: int = 500) -> Iterator[Any]:
    """The objects that hang on `root` by their attributes and in short lists, itself first, nearest first."""
    waiting, seen = [root], {id(root)}
    while waiting and limit:
        value = waiting.pop(0)
        limit -= 1
        yield value
        if isinstance(value, list | tuple):
            held = list(value) if len(value) <= LONG else []
        elif isinstance(value, nn.Module):
            held = list(value.children())
        else:
            held = list(getattr(value, "__dict__", {}).values())
        for one in held:
            if id(one) not in seen and not isinstance(
                one, (*PLAIN, Tensor, np.ndarray, type, FunctionType, ModuleType)
            ):
                seen.add(id(one))
                waiting.append(one)


def loader(case: Case, name: str) -> DataLoader[Any] | None:
    """The DataLoader that `batches` or `validation` hands out; None where it is something else."""
    try:
        found = case.call(name) if case.has(name) else None
    except Failed:
        return None
    return found if isinstance(found, DataLoader) else None


def read(case: Case, dataset: Any, index: int, seed: int | None = 0) -> Any:
    """One item, with the randomness of `seed`. Raises Failed."""
    return case.guarded(f"Program.dataset[{index}]", lambda: dataset[index], seed=seed)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0..count-1, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _parts(value: Any, depth: int = 6) -> Iterator[tuple[str, bytes, int]]:
    """(what kind of thing, its bytes, how many numbers) of every leaf of an item."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield f"{tuple(value.shape)}{value.dtype}", flat.view(torch.uint8).numpy().tobytes(), value.numel()
    elif isinstance(value, np.ndarray | np.generic):
        yield f"{value.shape}{value.dtype}", value.tobytes(), int(value.size)
    elif isinstance(value, PLAIN):
        yield f"{type(value).__name__}{isinstance(value, str) and not value}", repr(value).encode(), 1
    elif isinstance(value, Mapping):
        for key in value:
            yield f"[{key!r}]", b"", 0
            yield from _parts(value[key], depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        yield f"{type(value).__name__}{len(value)}", b"", 0
        for item in value:
            yield from _parts(item, depth - 1)
    elif hasattr(value, "tobytes") and hasattr(value, "size"):  # a picture of PIL's
        content = value.tobytes()
        yield f"{type(value).__name__}{value.size}", content, len(content)
    elif dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and depth > 0):
        yield type(value).__name__, b"", 0
        yield from _parts(dict(vars(value)), depth - 1)
    else:
        yield type(value).__name__, b"", 0


def kind(item: Any) -> str:
    """The structure, shapes and types of an item, without its values."""
    return "|".join(name for name, _, _ in _parts(item))


def digest(item: Any, least: int = 0) -> str:
    """Equal for items that are equal bit by bit. Leaves of fewer than `least` numbers do not count."""
    made = hashlib.blake2b(digest_size=16)
    for name, content, count in _parts(item):
        if count >= least:
            made.update(name.encode() + b"\0" + content)
    return made.hexdigest()


def end_of(case: Case, dataset: Any, count: int, kinds: set[str]) -> int | None:
    """The first index from the length on that gives no item of a known kind; None where none is found."""

    def answers(index: int) -> bool:
        try:
            return kind(read(case, dataset, index)) in kinds
        except Failed:
            return False

    low, step = count - 1, 1
    while answers(low + step):
        low, step = low + step, 2 * step
        if low > FAR * count:
            return None
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if answers(middle) else (low, middle)
    return high
