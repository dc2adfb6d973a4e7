"""The pictures that a page shows: single files, and some of each folder.

Shapes: N pictures, S side, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfsight.encoder import Encoder
from selfsight.errors import UserError
from selfsight.images.decode import to_pixels
from selfsight.sources import Folder

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def pictures_of(images: Images, encoder: Encoder, most: int, seed: int = 0) -> tuple[list[str], np.ndarray, list[str]]:
    """Names and pixels (N, S, S, C) uint8, as the encoder takes them, of files and of at most so many of each folder,
    drawn by the seed; and what is left out, with the reason. Raises UserError where no picture can be read.
    """
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    names, pixels, skipped = list[str](), list[np.ndarray](), list[str]()
    for place in map(Path, given):
        if place.is_dir():
            items = Folder(str(place), labels="none").open()
            chosen = np.random.default_rng(seed).permutation(len(items))[:most]
            files = [place / items[i].name for i in sorted(chosen)]
            if len(items) > most:
                skipped.append(f"{len(items) - most:,} of the {len(items):,} images of {place}: {most} are shown")
        else:
            files = [place]
        for file in files:
            try:
                one, _ = to_pixels(file.read_bytes(), encoder.size, channels=1 if encoder.channels == 1 else 3)
            except (OSError, ValueError) as error:
                skipped.append(f"{file}: {error.strerror if isinstance(error, OSError) else error}")
            else:
                names.append(file.name)
                pixels.append(one)
    if not pixels:
        raise UserError(f"No picture could be read: {'; '.join(skipped)}. Give image files, or a folder of them.")
    return names, np.stack(pixels), skipped
