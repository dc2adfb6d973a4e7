"""Images that are already in memory, as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from selfsight.source import Item, Source
from selfsight.sources import stack
from selfsight.sources.file import split_named


@dataclass(frozen=True, eq=False)
class InMemory(Source):
    """Good in a notebook. A recipe CANNOT record it by value: the run says that its images came from memory, and can be
    resumed only by a program that gives the same array again. Save the array and use Arrays where that matters.
    """

    images: np.ndarray = field(repr=False)
    """(N, H, W), (N, H, W, C) or (N, C, H, W), C 1, 3 or 4; values as in `selfsight.sources.stack`. Not copied."""
    labels: Sequence[str | int | None] | np.ndarray | None = field(default=None, repr=False)
    """(N,) class names or numbers; None or a negative number for an image without a class."""
    splits: Sequence[str | None] | np.ndarray | None = field(default=None, repr=False)
    """(N,) "train", "val", "unsup" or None."""

    def open(self) -> list[Item]:
        """Items named by their row. Raises UserError where shape, type or lengths cannot be right."""
        splits = None if self.splits is None else [split_named(str(split or "")) for split in self.splits]
        return stack.items(np.asarray(self.images), what="The array", labels=self.labels, splits=splits)
