"""From plain JSON back to one frozen value: a final and its settings, without the whole recipe around it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, TypeVar

from selfsight.errors import UserError

Word = TypeVar("Word")


def made(described: Mapping[str, Any], word: type[Word]) -> Word:
    """The final of `word` that {"class_path": ..., "init_args": ...} describes. Raises UserError where it cannot be."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--it", type=word)
    try:
        found = parser.instantiate(parser.parse_object({"it": dict(described)})).it
    except (argparse.ArgumentError, TypeError, ValueError, KeyError) as error:
        lines = [line.strip(" -:") for line in str(error).splitlines() if 'Parser key "it"' not in line]
        raise UserError(": ".join(line for line in lines if line) + ".") from error
    assert isinstance(found, word)
    return found
