"""Compiled work on the threads that torch itself computes with.

After each of its calls torch's threads spin for a while, and threads of one's own beside them get half a processor. The
OpenMP library that torch brought along takes work from anyone (`GOMP_parallel`, of GNU's, which LLVM's and Intel's have
too), so the same threads do it. Where there is none, threads of our own do.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

LIBRARY = re.compile(r"lib(?:gomp|omp|iomp5)\b")
MAPS = Path("/proc/self/maps")


def run(work: Any, job: np.ndarray) -> None:
    """Calls `work`, a numba cfunc of one pointer, with the address of `job` in each of torch's threads at once. It has
    to share the work out by what it finds there, and to get all of it done by however few calls."""
    start, threads = _start(), torch.get_num_threads()
    if start is not None and threads > 1:
        start(work.address, job.ctypes.data, threads, 0)
        return
    called = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work.address)
    if threads == 1:
        called(job.ctypes.data)
        return
    with ThreadPoolExecutor(threads) as pool:  # anew each time: threads do not survive a fork
        list(pool.map(called, [job.ctypes.data] * threads))


def can_keep_up() -> bool:
    """Whether work is done by torch's own threads, or by one, so that short work is worth its call."""
    return torch.get_num_threads() == 1 or _start() is not None


@functools.cache
def _start() -> Callable[..., Any] | None:
    """GOMP_parallel(function, argument, threads, flags) of the library that torch has loaded; None without one."""
    try:
        lines = MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    own = Path(torch.__file__).resolve().parent  # others bring libraries of the same name along
    for path in sorted({Path(line.split(maxsplit=5)[-1]) for line in lines if "/" in line}):
        if LIBRARY.match(path.name) and (own in path.parents or own.with_name("torch.libs") in path.parents):
            try:
                start: Any = ctypes.CDLL(str(path)).GOMP_parallel
            except (OSError, AttributeError):
                continue
            start.argtypes, start.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
            return start
    return None
