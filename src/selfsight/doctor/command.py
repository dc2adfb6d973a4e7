"""`selfsight doctor`: what its words ask for, answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from selfsight.doctor import screen
from selfsight.doctor.examine import examine
from selfsight.errors import UserError


def answer(given: Any) -> int:
    """Does what the parsed words ask -> the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    if given.list:
        screen.listing(console)
        return 0
    if given.explain:
        screen.explanation(given.explain, console)
        return 0
    if not given.program:
        raise UserError(
            "Which program? Give FILE.py:NAME, a recipe.json or a run's folder; or --list, or --explain CODE."
        )
    aside = Console(stderr=True)
    with aside.status("looking") as status:
        diagnosis = examine(
            given.program,
            given.data,
            seconds=given.seconds,
            quick=given.quick,
            said=lambda text: status.update(text),
        )
    if given.html:
        from selfsight.doctor.page import write_page

        write_page(diagnosis, Path(given.html))
    if given.json:
        print(json.dumps(diagnosis.to_json(), indent=2))
    else:
        screen.show(diagnosis, console)
        if given.html:
            console.print(f"The diagnosis with pictures: {given.html}")
    return diagnosis.exit_code
