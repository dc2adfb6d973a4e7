"""What numba compiles, where numba is installed and works: an old one refuses a new numpy, and a machine whose folders
cannot be written to leaves nowhere to keep what was compiled."""

from __future__ import annotations

import functools
import importlib
import warnings
from importlib.util import find_spec
from typing import Any


@functools.cache
def compiled_module(name: str) -> Any | None:
    """The module of this package whose import compiles, or reads what was compiled; None without numba, and None where
    it cannot be used, which is said once."""
    if find_spec("numba") is None:
        return None
    try:
        return importlib.import_module(f"selfsight.{name}")
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        warnings.warn(
            f"numba is installed and cannot be used ({reason}): torch does its work, slower. Where it finds no folder "
            "to write to, name one by NUMBA_CACHE_DIR.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
