"""What the user's code is made of: the code objects behind a function, and behind those that it uses by name."""

from __future__ import annotations

import dis
import re
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from selfsight.instruments.place import is_users

MOST = 200
"""Functions that are read."""
THAWS = re.compile(r"unfreez|un_freez|thaw", re.IGNORECASE)


def codes(function: Callable[..., Any] | None) -> Iterator[CodeType]:
    """The code of a function, of those inside it, and of the user's functions that it names or holds."""
    waiting: list[Any] = [function]
    seen: set[int] = set()
    while waiting and len(seen) < MOST:
        item = waiting.pop()
        item = getattr(item, "func", getattr(item, "__func__", item))
        if callable(item) and not hasattr(item, "__code__") and not isinstance(item, type):
            item = vars(type(item)).get("__call__")  # an object that is called like a function
        code = item if isinstance(item, CodeType) else getattr(item, "__code__", None)
        if not isinstance(code, CodeType) or id(code) in seen or not is_users(code.co_filename):
            continue
        seen.add(id(code))
        yield code
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        waiting += [*held(item), *(getattr(item, "__globals__", {}).get(name) for name in code.co_names)]


def held(function: Any) -> list[Any]:
    """What a function's closure holds."""
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    return found


def thaws(code: CodeType) -> bool:
    """Whether code speaks of unfreezing, or sets requires_grad and never to False."""
    if any(THAWS.search(word) for word in (code.co_name, *code.co_names, *code.co_freevars)):
        return True
    stores = any(step.opname == "STORE_ATTR" and step.argval == "requires_grad" for step in dis.get_instructions(code))
    return (stores or "requires_grad_" in code.co_names) and not any(value is False for value in code.co_consts)
