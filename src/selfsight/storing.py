"""From a recipe's source to its store, telling on the way what is packed and, at the end, what was left out."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from selfsight.errors import UserError
from selfsight.recipe import Recipe
from selfsight.source import Item, Source
from selfsight.sources import Packed
from selfsight.store import Packing, Store, pack

LARGEST = 64
"""Side that images are packed to where no size is asked: what a few CPU minutes can learn from."""
NAMED = 10
"""Left-out files named on the screen; all are in skipped.csv."""


def store_of(recipe: Recipe, console: Console) -> Store:
    """The recipe's images, decoded; packed now, or found packed."""
    return open_store(recipe.source, recipe.size, console)


def open_store(
    source: Source, size: int | None, console: Console, channels: int | None = None, out: Path | None = None
) -> Store:
    """The images of `source` at `size`, with a progress bar where they have to be decoded.

    Raises UserError where the source is a store of another size or number of channels.
    """
    if isinstance(source, Packed):
        store = Store.open(Path(source.path))
        has = store.images.shape[1]
        if size is not None and size != has:
            raise UserError(
                f"{source.path} was packed at {has} pixels, not {size}. Pack the images again: `selfsight pack "
                f"IMAGES --size {size}`."
            )
        if channels is not None and channels != store.images.shape[3]:
            raise UserError(
                f"{source.path} holds images of {store.images.shape[3]} channels, the encoder takes "
                f"{channels}. Give the images themselves instead of the store."
            )
        return store
    items = source.open()  # once: of many files, to list them takes its time
    packing = Packing(size=size or natural_size(items), channels=channels or "auto")  # type: ignore[arg-type]
    columns = (TextColumn("decoding images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("", total=None)

        def told(done: int, total: int) -> None:
            bar.update(row, completed=done, total=total)

        return pack(source, packing, out=out, progress=told, items=items)


def natural_size(items: Sequence[Item]) -> int:
    """The usual short side of some of a source's images, at most LARGEST, in steps of 4."""
    sides = []
    for item in items[:: max(1, len(items) // 25)][:25]:
        try:
            content = item.read()
            sides.append(min((content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content))).size))
        except (ValueError, OSError, Image.DecompressionBombError):
            continue  # the store names what cannot be read
    usual = statistics.median_low(sides) if sides else LARGEST
    return max(8, min(LARGEST, usual // 4 * 4))


def learned_from(store: Store) -> np.ndarray:
    """The images a training may see: all but those kept for validation. Raises UserError where there are none."""
    where = np.flatnonzero(store.splits != "val")
    if not len(where):
        raise UserError(f"All images of {store.path} belong to its val split: there is nothing to learn from.")
    return where


def say_left_out(store: Store, console: Console, listed: Path) -> None:
    """Names what could not be used, and how much is there twice."""
    if store.skipped:
        console.print(
            f"[bold]left out: {len(store.skipped)} of {len(store.skipped) + len(store.names)} files[/bold] "
            f"(all in {listed})",
            highlight=False,
            soft_wrap=True,
        )
        for name, reason in store.skipped[:NAMED]:
            console.print(f"  {name}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if store.duplicates:
        console.print(f"there more than once: {len(store.duplicates)} images (duplicates.csv)", highlight=False)
