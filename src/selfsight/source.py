"""A source says where images come from. It is frozen data; `open()` lists what is there without decoding anything.

Torch-free. A source lists *every* file that claims to be an image; whether it can be read is found out by the store,
which counts and names what could not.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Item:
    """One image that has been listed, not yet read."""

    name: str
    """Unique within the source: a path relative to the folder, or a row number. Forward slashes."""
    read: Callable[[], Image.Image | bytes]
    """The image file's bytes, or a picture where the source holds arrays. Called from several threads."""
    stamp: str
    """Changes when the content may have changed (size and modification time of a file, a digest of an array)."""
    label: str | None = None
    """The class by name, where one is known. Never seen by a task."""
    split: str | None = None
    """"train", "val" or "unsup"; None where the source does not divide its images."""


class Source(abc.ABC):
    """Finals are frozen dataclasses in `sources/`; their fields are what a recipe records."""

    @abc.abstractmethod
    def open(self) -> list[Item]:
        """Everything there is, in an order that depends on names alone.

        Raises UserError where the place does not exist or holds nothing that could be an image.
        """
