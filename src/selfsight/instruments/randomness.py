"""Every random state a program may draw from, held still and put back: Python, NumPy, torch, and the GPUs'."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """What the block draws is not missing afterwards."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


@contextlib.contextmanager
def replayed(seed: int) -> Iterator[None]:
    """The block draws the same numbers each time it runs with the same seed; afterwards nothing is missing."""
    with untouched():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        _seed(seed)
        yield


@functools.cache
def _accelerated() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _seed(seed: int) -> None:
    """torch.manual_seed, without the 0.2 ms and more it takes to note who called, where there is no accelerator."""
    if _accelerated():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
