"""A picture of what the network is asked: a few examples of a task, one row each, as it sees them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from selfsight.batch import Batch, Example, Now
from selfsight.seeds import generator
from selfsight.task import Task

SHOWN = 144
"""Pixels that each picture is enlarged to, at least."""
MARGIN, LINE = 10, 26
PAPER, INK = (250, 250, 248), (40, 40, 40)


def example_of(task: Task, images: np.ndarray, where: np.ndarray, seed: int = 0) -> Example:
    """One prepared batch of the images at `where`, as the first step of a training would see them."""
    pixels = torch.from_numpy(images[where]).permute(0, 3, 1, 2)
    batch = Batch(pixels, torch.from_numpy(where.astype(np.int64)))
    return task.prepare(batch, Now(0, 1, generator(seed, "drawing")))


def draw(task: Task, example: Example, originals: np.ndarray, columns: int = 2) -> Image.Image:
    """The original of each example, what the network gets, and the answer below it; `columns` examples side by side.

    Where the example holds a picture as its "truth", it stands last. originals (N, H, W, C) uint8 in the order of the
    example.
    """
    n, views = example.inputs.shape[:2]
    truth = example.extras.get("truth")
    views += truth is not None
    side = max(SHOWN, example.inputs.shape[-1])
    cell = ((views + 1) * side + (views + 2) * MARGIN, side + LINE + 2 * MARGIN)
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1] + LINE + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    pen.text((MARGIN, MARGIN), f"{type(task).__name__}: {task.question()}", fill=INK, font=font)
    for i in range(n):
        left, top = (i % columns) * cell[0] + MARGIN, (i // columns) * cell[1] + LINE + MARGIN
        pictures = [_picture(originals[i]), *(_picture(view) for view in example.inputs[i])]
        pictures += [] if truth is None else [_picture(truth[i])]
        for place, picture in enumerate(pictures):
            method = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.BILINEAR
            sheet.paste(picture.resize((side, side), method), (left + place * (side + MARGIN), top))
        pen.text((left, top + side + 4), "image", fill=INK, font=font)
        pen.text((left + side + MARGIN, top + side + 4), task.caption(example, i), fill=INK, font=font)
    return sheet


def _picture(image: np.ndarray | Tensor) -> Image.Image:
    """(H, W, C) uint8, or (C, H, W) float in [0, 1]."""
    if isinstance(image, Tensor):
        image = (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
