"""What the other processes hold. With one process, everything here is the identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """In the block this process is the only one: what it computes waits for no other."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def processes() -> int:
    """How many processes train together."""
    if _ALONE.get():
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is."""
    if _ALONE.get():
        return 0
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gathered(z: Tensor) -> Tensor:
    """(N, ...) of each process -> (R N, ...) in order of rank, the same everywhere; gradients flow back to all."""
    if processes() == 1:
        return z
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(z.contiguous()))
