"""Some of many images, read from where they lie when they are asked for. Torch-free.

Shapes: N images of all, H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Images(Protocol):
    """(N, H, W, C) uint8: an array, a memory map, or `Picked`. What is taken out of it is an array."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any) -> Any: ...


class Picked:
    """The images at `rows` of (all, H, W, C), a memory map for example: none is held, and none copied twice."""

    def __init__(self, images: Images, rows: np.ndarray) -> None:
        self.images, self.rows = images, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Any:
        return self.images[self.rows[which]]
