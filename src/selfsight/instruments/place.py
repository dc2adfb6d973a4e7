"""Where in the user's code something is: a module's or parameter's name, a file and a line."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent)
_SELF = str(Path(__file__).parents[1])
_STDLIB = sysconfig.get_paths()["stdlib"]
_OWN = ("instruments/", "observations/", "checks/", "doctor/", "case.py", "check.py", "swap.py", "streaming.py")
_OURS = tuple(f"{_SELF}/{part}" for part in _OWN)


@dataclass(frozen=True)
class Place:
    """A point in a program. Any part may be unknown."""

    name: str = ""
    """Module, parameter, argument or callable, as the program calls it."""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.file else ""
        return f"{self.name} ({at})" if self.name and at else self.name or at


def is_users(file: str) -> bool:
    """Whether a source file is the examined program's, not torch's, Python's, an installed package's or ours."""
    return not (
        file.startswith((_TORCH, _STDLIB, "<", *_OURS)) or "site-packages" in file or "dist-packages" in file
    ) or (file.startswith("<ipython"))


def of_code(thing: Callable[..., Any] | type, name: str = "") -> Place:
    """Where a function or class is written."""
    thing = inspect.unwrap(thing)
    if hasattr(thing, "func"):  # functools.partial
        thing = thing.func
    try:
        return Place(name, inspect.getsourcefile(thing) or "", inspect.getsourcelines(thing)[1])
    except (TypeError, OSError):
        return Place(name)


def of_module(name: str, module: nn.Module) -> Place:
    """Where a module of a model is: its name, and the line of its forward where that is the user's."""
    try:
        place = of_code(type(module).forward)
    except Exception:
        place = Place()
    users = place.file and is_users(place.file)
    return Place(name or type(module).__name__, place.file if users else "", place.line if users else 0)


def of_error(error: BaseException, name: str = "") -> Place:
    """The innermost line of the user's code that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if is_users(frame.filename):
            return Place(name, frame.filename, frame.lineno or 0)
    return Place(name)


def in_model() -> bool:
    """Whether a module with weights is running now: what is called is then part of a model, not of its loss."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_locals.get("self") if frame.f_code.co_name == "_call_impl" else None
        if isinstance(module, nn.Module) and next(module.parameters(), None) is not None:
            return True
        frame = frame.f_back
    return False


def of_caller(name: str = "") -> Place:
    """The innermost line of the user's code that is running now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            return Place(name, frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return Place(name)
