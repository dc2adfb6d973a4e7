"""Pictures of what is done to images: what a task asks of the network, and what corruptions leave of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from selfsight.batch import Batch, Example, Now
from selfsight.corruption import Corruption
from selfsight.corruptions import spelling
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
            sheet.paste(_enlarged(picture, side), (left + place * (side + MARGIN), top))
        pen.text((left, top + side + 4), "image", fill=INK, font=font)
        pen.text((left + side + MARGIN, top + side + 4), task.caption(example, i), fill=INK, font=font)
    return sheet


def draw_corruptions(corruptions: Sequence[Corruption], images: np.ndarray, seed: int = 0) -> Image.Image:
    """A row for each image: itself, then what each corruption leaves of it, with how much was removed below.

    Beside a corruption that takes pixels away altogether stands where: black is gone. images (N, H, W, C) uint8.
    """
    columns = [("image", [(_picture(image), "") for image in images])]
    for number, corruption in enumerate(corruptions):
        columns += _columns_of(corruption, images, generator(seed, "drawing", number))
    side = max(SHOWN, images.shape[1])
    wide, tall = side + MARGIN, side + LINE + MARGIN
    head = MARGIN + LINE * max(title.count("\n") + 1 for title, _ in columns)
    sheet = Image.new("RGB", (len(columns) * wide + MARGIN, len(images) * tall + head), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for across, (title, cells) in enumerate(columns):
        pen.text((MARGIN + across * wide, MARGIN), title, fill=INK, font=font)
        for down, (picture, caption) in enumerate(cells):
            place = (MARGIN + across * wide, head + down * tall)
            sheet.paste(_enlarged(picture, side), place)
            pen.text((place[0], place[1] + side + 4), caption, fill=INK, font=font)
    return sheet


def _columns_of(
    corruption: Corruption, images: np.ndarray, draws: torch.Generator
) -> list[tuple[str, list[tuple[Image.Image, str]]]]:
    """One or two columns of (title, cells): what is left, and where pixels are gone, if they are anywhere."""
    done = corruption(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, draws)
    left = [
        (_picture(one), f"removed {share:.0%}") for one, share in zip(done.images, done.removed.tolist(), strict=True)
    ]
    columns = [(spelling(corruption).replace("+", " +\n").replace("/", " /\n"), left)]
    if done.where.any():
        columns.append(("where", [(_picture(1 - one), f"{float(one.mean()):.0%} of the area") for one in done.where]))
    return columns


def _enlarged(picture: Image.Image, side: int) -> Image.Image:
    method = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.BILINEAR
    return picture.resize((side, side), method)


def _picture(image: np.ndarray | Tensor) -> Image.Image:
    """(H, W, C) uint8, or (C, H, W) float in [0, 1]."""
    if isinstance(image, Tensor):
        image = (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
