"""The one exception a user is meant to see: a sentence, never a traceback.

Raised wherever input from outside (a path, a file, a setting, a name) cannot be used. Its message says what was given,
what was expected and what to do next; the command line prints it and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, told in one sentence."""


def nearest(given: str, known: Iterable[str]) -> str:
    """ " (nearest: X)" for the known name most like `given`, or "" where none is alike; for the end of a message."""
    alike = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f" (did you mean {alike[0]!r}?)" if alike else ""
