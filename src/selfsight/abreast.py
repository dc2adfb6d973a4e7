"""Jobs side by side, each in a thread in which torch counts alone.

Torch shares out one layer at a time, and what is done between two layers, in Python or compiled, has one core while
torch's other threads spin. A job of many small layers is done sooner whole, in one thread, beside others like it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Made = TypeVar("Made")


def abreast(work: Callable[[Job], Made], jobs: Sequence[Job]) -> list[Made]:
    """What `work` makes of each job, in their order: as many at once as torch has threads, under the caller's gradients
    and autocast. The first error of any is raised when those under way have ended. Whoever else first asks torch for
    something meanwhile, in a thread of its own, counts in one as well."""
    threads = torch.get_num_threads()
    if min(threads, len(jobs)) < 2:
        return [work(job) for job in jobs]
    gradients, kind, cast = torch.is_grad_enabled(), torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def alone(job: Job) -> Made:
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", kind, cast):
            return work(job)

    try:
        with ThreadPoolExecutor(min(threads, len(jobs)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, jobs))
    finally:
        torch.set_num_threads(threads)  # threads that begin later take the number that was set last
