"""What this machine does best: steps by size of batch, and images by the way they are read.

Shapes: N images a step.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from selfsight.bf16 import bf16_is_native
from selfsight.images.decode import fitted, to_picture
from selfsight.plan import time_steps
from selfsight.recipe import Recipe
from selfsight.source import Item
from selfsight.store import Store
from selfsight.storing import learned_from, store_of
from selfsight.train import order

BATCHES = (16, 32, 64, 128, 256, 512, 1024)
NEAR = 0.95
"""A batch that reaches this share of the fastest is as good: the smallest such leaves most memory."""
READ, PASSES = 512, 3
"""Images read in one pass, and passes, for each way to read them."""


@dataclass(frozen=True)
class Row:
    """One setting, and what it gave."""

    setting: str
    per_second: float
    """Images a second, median."""
    low: float
    high: float
    memory: float | None = None
    """MB that the process (on a GPU: its tensors) holds at most, so far."""


def bench_batch(recipe: Recipe, console: Console) -> tuple[list[Row], str]:
    """Images a second and memory of real steps at several sizes of batch -> (rows, which one to take)."""
    store = store_of(recipe, console)
    where, rows = learned_from(store), list[Row]()
    chosen = recipe.precision if recipe.precision != "auto" else ("bf16-mixed" if bf16_is_native() else "32-true")
    for batch in [size for size in BATCHES if size <= len(where)]:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with console.status(f"batches of {batch}"):
            took = time_steps(replace(recipe, batch=batch, accumulate=1), (chosen,), store.images, where, batch)
        rows.append(_row(str(batch), [batch / seconds for seconds in took[chosen]], _memory()))
    fastest = max(row.per_second for row in rows)
    best = next(row for row in rows if row.per_second >= NEAR * fastest)
    return rows, (
        f"--batch {best.setting} learns from {best.per_second:,.0f} images a second at {chosen}; the fastest, "
        f"{fastest:,.0f}. Tasks that compare images with one another (SimCLR, VICReg) want 256 or more all the same; "
        f"without --batch {type(recipe.task).__name__} takes {recipe.task.usual_batch()}."
    )


def bench_data(recipe: Recipe, console: Console) -> tuple[list[Row], str]:
    """Images a second of reading alone: from the store, and from the files by a DataLoader with workers."""
    store = store_of(recipe, console)
    where, rows = learned_from(store), list[Row]()
    batch = min(recipe.batch_size, len(where))
    rows.append(_row("store, memory-mapped", _reading(lambda: _store_batches(store, where, batch), batch)))
    unread = {name for name, _ in store.skipped}
    items = [item for item in recipe.source.open() if item.name not in unread]
    if items and isinstance(items[0].read(), bytes):
        part = max(1, min(batch, 64, len(items) // 4))
        for workers in range((os.cpu_count() or 1) + 1):
            for pinned in (False, True) if torch.cuda.is_available() else (False,):
                name = f"files, {workers} worker{'s' * (workers != 1)}{', pinned' * pinned}"
                with console.status(name):
                    loader = _file_batches(items, store.images.shape[1], part, workers, pinned)
                    rows.append(_row(name, _reading(lambda loader=loader: loader, part)))  # type: ignore[misc]
    best = max(rows, key=lambda row: row.per_second)
    return rows, f"{best.setting} reads fastest, {best.per_second:,.0f} images a second; pretrain reads from the store."


def tell(rows: Iterable[Row], advice: str, console: Console) -> None:
    """The rows as a table, then what to take."""
    table = Table("setting", "images/s", "range", "memory", box=None, pad_edge=False)
    for row in rows:
        memory = "" if row.memory is None else f"{row.memory:,.0f} MB"
        table.add_row(row.setting, f"{row.per_second:,.0f}", f"{row.low:,.0f} to {row.high:,.0f}", memory)
    console.print(table)
    console.print(advice, highlight=False, soft_wrap=True)


def _row(setting: str, rates: list[float], memory: float | None = None) -> Row:
    return Row(setting, statistics.median(rates), min(rates), max(rates), memory)


def _memory() -> float | None:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _reading(passing: Callable[[], Iterable[object]], batch: int) -> list[float]:
    """Images a second of some passes, without each one's first batch, which also starts the workers."""
    rates = []
    for _ in range(PASSES):
        batches = iter(passing())
        next(batches)
        started = time.perf_counter()
        count = sum(1 for _ in batches)
        rates.append(count * batch / (time.perf_counter() - started))
    return rates


def _store_batches(store: Store, where: np.ndarray, batch: int) -> Iterator[torch.Tensor]:
    for step in range(1 + max(3, READ // batch)):
        rows = where[order(0, step, len(where), batch)]
        yield torch.from_numpy(store.images[rows]).permute(0, 3, 1, 2)


def _file_batches(items: list[Item], size: int, part: int, workers: int, pinned: bool) -> Iterable[object]:
    data = Files(items[: part * (1 + max(3, READ // part))], size)
    return DataLoader(data, part, shuffle=True, num_workers=workers, pin_memory=pinned, drop_last=True)


class Files(Dataset[torch.Tensor]):
    """Image files decoded each time they are read, as the usual loaders do."""

    def __init__(self, items: list[Item], size: int) -> None:
        self.items, self.size = items, size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> torch.Tensor:
        content = self.items[i].read()
        return torch.tensor(fitted(to_picture(content), self.size))
