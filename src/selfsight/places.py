"""Files and folders that a setting names: made absolute where they are there, and marked by what is in them."""

from __future__ import annotations

import hashlib
import os
from typing import Any


def anchor(part: Any, *names: str) -> None:
    """Makes paths in fields of a frozen part absolute, where they exist: a resume from another folder finds them."""
    for name in names:
        path = getattr(part, name)
        if path and os.path.exists(path):
            object.__setattr__(part, name, os.path.abspath(path))


def mark_of(path: str | os.PathLike[str]) -> str:
    """A mark of a file's content, another one where that has changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
