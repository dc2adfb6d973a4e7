"""A store as a source: images that were packed before, taken as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from PIL import Image

from selfsight.source import Item, Source
from selfsight.store import Store


@dataclass(frozen=True)
class Packed(Source):
    """Good: no decoding, no waiting. Poor: its size is the size it was packed at."""

    path: str
    """The folder that `selfsight pack` made."""

    def open(self) -> list[Item]:
        store = Store.open(self.path)
        labels = store.labels()
        named = [labels.classes[code] if code >= 0 else None for code in labels.codes]

        def picture(row: int) -> Image.Image:
            pixels = store.images[row]
            return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)

        return [
            Item(name, partial(picture, row), store.hashes[row], named[row], str(store.splits[row]) or None)
            for row, name in enumerate(store.names)
        ]
