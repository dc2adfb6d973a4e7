"""Smaller pictures first: a training whose pictures grow sees more of them in the same time.

Howard 2018 ("progressive resizing", fast.ai's DAWNBench entry) and Tan, Le 2021, "EfficientNetV2", section 4. A picture
of half the side costs a convolutional encoder a quarter. What is small is the whole batch, before a task makes its
pictures of it, so that every task can be taught so whose parts do not depend on the side.

Shapes: N images, C channels, H W side.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from selfsight.errors import UserError

LEAST, STEP = 8, 4
"""Pixels: no side is smaller, and sides are multiples of this."""


def require_growing(growth: tuple[float, ...]) -> None:
    """Raises UserError where these are not shares of a side, each larger than the one before."""
    if any(not 0 < share < 1 for share in growth) or list(growth) != sorted(set(growth)):
        raise UserError(
            f"--growth is a list of shares of the full side, each in (0, 1) and larger than the one before, such as "
            f"[0.5, 0.75], not {list(growth)}."
        )


def stage(growth: tuple[float, ...], done: float) -> int:
    """Which part of the training this is when a share `done` of it, in [0, 1), is over; the last is the full side's."""
    return min(int(done * (len(growth) + 1)), len(growth))


def side(growth: tuple[float, ...], done: float, full: int) -> int:
    """The side of pictures when a share `done` of the training is over, where the full one is `full`."""
    now = stage(growth, done)
    return full if now == len(growth) else min(full, max(LEAST, STEP * round(growth[now] * full / STEP)))


def shrunk(images: Tensor, to: int) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, to, to) uint8, each pixel the mean of those it covers."""
    if images.shape[-1] == to:
        return images
    return F.interpolate(images.float(), size=(to, to), mode="area").round().byte()
