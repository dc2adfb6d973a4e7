"""A stack of images in one array, as items: what every source that holds arrays has in common. Torch-free.

Numbers become 8 bits by one rule for the whole stack, never image by image, so that a dark image stays dark beside a
bright one: bool is black and white; integers within 0..255 stay as they are, uint16 beyond that is divided by 257;
floats within 0..1 are multiplied by 255, within 0..255 rounded; anything else is stretched from the lowest to the
highest finite value of the stack.

Shapes: N images, H height, W width, C channels (1 gray, 3 RGB, 4 RGBA). (N, H, W), (N, H, W, C) and (N, C, H, W) are
understood; where both of the latter would fit, the channels are last.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from selfsight.errors import UserError
from selfsight.source import Item

CHUNK = 64 * 2**20
"""Bytes of a memory-mapped stack that are looked at in one go."""


def items(
    stack: np.ndarray,
    *,
    what: str,
    labels: Sequence[Any] | np.ndarray | None = None,
    splits: Sequence[Any] | np.ndarray | None = None,
    prefix: str = "",
    stamp: str | None = None,
) -> list[Item]:
    """One item per image, named by `prefix` and its number, of even width.

    `what` names the array in messages. Without `stamp` (that of the file) the pixels themselves are digested. Raises
    UserError where the shape, the type or the number of labels or splits cannot be right.
    """
    channels_last = _checked(stack, what)
    for given, name in ((labels, "labels"), (splits, "splits")):
        if given is not None and len(given) != len(stack):
            raise UserError(f"{what} has {len(stack)} images but {len(given)} {name}. Give one for each image.")
    scale = _scale(stack)
    texts = [None] * len(stack) if labels is None else [class_name(label, what) for label in labels]
    parts = [None] * len(stack) if splits is None else [None if split is None else str(split) for split in splits]
    width = len(str(len(stack) - 1))
    return [
        Item(
            name=f"{prefix}{number:0{width}}",
            read=functools.partial(_picture, stack, number, channels_last, scale),
            stamp=f"{stamp} {number}" if stamp else digest(stack[number]),
            label=None if parts[number] == "unsup" else texts[number],
            split=parts[number],
        )
        for number in range(len(stack))
    ]


def digest(values: np.ndarray) -> str:
    """A hash of an array's type, shape and content."""
    head = f"{values.dtype.str}{values.shape}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def _checked(stack: np.ndarray, what: str) -> bool:
    """Whether the channels are last (or there are none)."""
    shape = stack.shape
    if stack.dtype.kind not in "buif":
        raise UserError(f"{what} has the type {stack.dtype}; give uint8, bool, another integer or a float.")
    if 0 in shape:
        raise UserError(f"{what} is empty: its shape is {shape}.")
    last = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    if not last and not (len(shape) == 4 and shape[1] in (1, 3, 4)):
        raise UserError(f"{what} has the shape {shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4.")
    return last


def _scale(stack: np.ndarray) -> tuple[float, float]:
    """(low, high): the values that become 0 and 255."""
    if stack.dtype in (np.uint8, np.bool_):
        return (0.0, 255.0) if stack.dtype == np.uint8 else (0.0, 1.0)
    low, high = np.inf, -np.inf
    rows = max(1, CHUNK // max(1, stack[0].nbytes))
    for start in range(0, len(stack), rows):
        part = stack[start : start + rows]
        part = part[np.isfinite(part)] if part.dtype.kind == "f" else part
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    limits: tuple[float, ...] = (1.0, 255.0) if stack.dtype.kind == "f" else (255.0,)
    limits += (65535.0,) if stack.dtype == np.uint16 else ()
    return next(((0.0, limit) for limit in limits if low >= 0 and high <= limit), (low, high))


def _picture(stack: np.ndarray, number: int, channels_last: bool, scale: tuple[float, float]) -> Image.Image:
    pixels = np.asarray(stack[number])
    pixels = pixels if channels_last else np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8:
        low, high = scale
        values = np.nan_to_num(pixels.astype(np.float64), nan=low, neginf=low, posinf=high)
        pixels = np.clip(np.rint((values - low) * (255.0 / max(high - low, 1e-300))), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def class_name(label: Any, what: str) -> str | None:
    """A label as text: numbers without ".0"; None for none, and for a number below 0, which data sets write for it."""
    if isinstance(label, np.ndarray | list | tuple):
        if np.size(label) != 1:
            raise UserError(
                f"The labels of {what} have more than one value per image; give one name or number for each."
            )
        label = np.asarray(label).reshape(-1)[0]
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, float | np.floating):
        if np.isnan(label):
            return None
        label = int(label) if label == int(label) else label
    if isinstance(label, int | np.integer) and label < 0:
        return None
    return None if label is None or str(label) == "" else str(label)
