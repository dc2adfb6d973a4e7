"""Images cut into k x k boxes, and boxes laid out on one canvas.

A window is smaller than its cell and lies anywhere within it, in whole pixels: neighbouring boxes then share no edge
that a network could follow from one into the other, and all of them are equally sharp.

Shapes: N images, C channels, H W source, k boxes along a side, K = k k boxes row by row, s side of a box.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from selfsight.images import colour
from selfsight.images.resample import resize_matrix, separable

LEAST = 16
"""Pixels that a box has, at least, when it is shown by itself: what small encoders shrink to a single place."""


def window(side: int, k: int, gap: float) -> int:
    """Pixels along a side of the window cut from a cell of an image of `side` pixels; `gap` is the share left out."""
    return max(1, math.floor(side / k * (1 - gap)))


def cut(images: Tensor, k: int, size: int | None, gap: float, generator: Generator) -> Tensor:
    """A window of each of the k x k cells of each image: (N, C, H, W) float -> (N, k k, C, size, size).

    Each window leaves out the share `gap` of its cell's side, [0, 1), at either end, by chance. All are brought to
    `size` by the same resampling; None keeps the pixels as they are.
    """
    n, _, height, width = images.shape
    tall, wide = window(height, k, gap), window(width, k, gap)
    top, left = _starts(n, height, k, tall, generator), _starts(n, width, k, wide, generator).transpose(1, 2)
    rows = (top[..., None] + torch.arange(tall)).flatten(1, 2).to(images.device)
    columns = (left[..., None] + torch.arange(wide)).flatten(1, 2).to(images.device)
    image = torch.arange(n, device=images.device).repeat_interleave(k * k)
    boxes = images[image[:, None, None], :, rows.view(-1, tall, 1), columns.view(-1, 1, wide)].permute(0, 3, 1, 2)
    return resized(boxes, size or tall).unflatten(0, (n, k * k))


def _starts(n: int, side: int, k: int, length: int, generator: Generator) -> Tensor:
    """(n, k, k) the first pixel of each window along one side, cells counted along the second dimension."""
    first = torch.arange(k) * side // k
    return first[None, :, None] + (torch.rand(n, k, k, generator=generator) * (side // k - length + 1)).long()


def resized(boxes: Tensor, size: int) -> Tensor:
    """(N, C, h, w) -> (N, C, size, size), antialiased; boxes of that size already stay as they are."""
    n, height, width = len(boxes), *boxes.shape[-2:]
    if (height, width) == (size, size):
        return boxes
    zero = torch.zeros(1, device=boxes.device)
    rows, columns = (resize_matrix(zero, zero + length, length, size).expand(n, -1, -1) for length in (height, width))
    return separable(boxes, rows, columns).clamp(0, 1)


def lay(boxes: Tensor, side: int, tone: float = 0.5) -> Tensor:
    """Boxes row by row on the cells of a square canvas, each in its middle: (N, K, C, s, s) -> (N, C, S, S).

    The canvas has the fewest cells along a side that hold K boxes; what no box covers has the gray `tone`. Raises
    ValueError where the boxes are larger than the cells.
    """
    n, count, c, size, _ = boxes.shape
    along = cells(count)
    if size * along > side:
        raise ValueError(
            f"{count} boxes of {size} pixels want a canvas of {size * along}, not {side}: take smaller boxes"
        )
    canvas = boxes.new_full((n, c, side, side), tone)
    for number in range(count):
        top, left = ((2 * at + 1) * side // (2 * along) - (size + 1) // 2 for at in divmod(number, along))
        top, left = max(0, top), max(0, left)
        canvas[:, :, top : top + size, left : left + size] = boxes[:, number]
    return canvas


def cells(count: int) -> int:
    """The fewest cells along a side of a square canvas that holds `count` boxes."""
    return math.isqrt(count - 1) + 1


def recoloured(boxes: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation of each box multiplied by a factor of its own in [1 - strength, 1 + strength].

    (N, C, s, s) -> the same. Without it, boxes of one image could be told by their light alone.
    """
    factors = 1 + strength * (2 * torch.rand(3, len(boxes), generator=generator) - 1)
    for change, factor in zip((colour.brighten, colour.contrast, colour.saturate), factors, strict=True):
        boxes = change(boxes, factor.to(boxes.device)) if strength else boxes
    return boxes
