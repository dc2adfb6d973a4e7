"""Whether what is random about items is drawn anew: caches emptied, draws heard, workers run as they are run."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from selfsight.case import Case, Failed
from selfsight.instruments.functions import noting
from selfsight.observations.items import digest, inside, own, read

READS = 4
"""How often each worker reads the same item."""
DRAWING = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
    "multinomial", "poisson", "uniform_", "normal_", "random_", "bernoulli_", "exponential_", "geometric_",
    "log_normal_", "cauchy_",
}  # fmt: skip
"""torch's functions that draw."""


def forgetful(case: Case, dataset: Any, index: int) -> Any:
    """A copy whose caches are empty. A dict or list is a cache where, emptied, it is filled again by reading."""
    twin = own(dataset)
    for holder in list(inside(twin)):
        for name, full in list(getattr(holder, "__dict__", {}).items()):
            if type(full) not in (dict, OrderedDict, list) or not full:
                continue
            empty: Any = [None] * len(full) if isinstance(full, list) else type(full)()
            holder.__dict__[name] = empty
            try:
                read(case, twin, index)
                filled = any(entry is not None for entry in empty) if isinstance(full, list) else bool(empty)
            except Failed:
                filled = False
            if filled:  # empty it again
                empty = [None] * len(full) if isinstance(full, list) else type(full)()
            holder.__dict__[name] = empty if filled else full
    return twin


def draws(case: Case, dataset: Any, index: int) -> bool:
    """Whether reading an item draws random numbers anywhere."""

    def look() -> bool:
        def states() -> tuple[Any, ...]:
            array = np.random.get_state(legacy=True)
            return random.getstate(), array[1].tobytes(), array[2]  # type: ignore[index]

        before = states()
        with noting(DRAWING) as used:
            dataset[index]
        return bool(used) or states() != before

    return case.guarded("Program.dataset", look)


def _digests(items: list[Any]) -> str:
    return digest(items, least=8)


def streams(case: Case, dealt: DataLoader[Any], index: int, seed: int) -> list[list[str]]:
    """What each of up to two workers, set up as the program's are, reads at one index, again and again."""
    count = min(2, dealt.num_workers)

    def run() -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forking beside threads is the program's own choice
            return list(
                DataLoader(
                    dealt.dataset, batch_size=1, sampler=[index] * (count * READS), num_workers=count,
                    collate_fn=_digests, worker_init_fn=dealt.worker_init_fn,
                    multiprocessing_context=dealt.multiprocessing_context,
                )
            )  # fmt: skip

    found = case.guarded("the loader's workers", run, seed=seed)
    return [found[worker::count] for worker in range(count)]
