"""What a step of each training costs in seconds of one thread: so that equal time is told in steps, whatever else runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

TIMED, SAID = 6, 1000
"""Steps of each training that are timed, and that it is said to have: what is done ten times in a training, as Tokens
counts how its numbers vary, is not to be done at each of them."""


def costs(place: Path, trainings: Mapping[str, Callable[[], Iterator[Any]]]) -> dict[str, float]:
    """Seconds of this thread for a step of each training, by name; each is timed once and kept at `place`.

    They are stepped in turn and the least of each counts: others on the machine only ever add.
    """
    least = dict[str, float](json.loads(place.read_text(encoding="utf-8")) if place.exists() else {})
    begun = {name: make() for name, make in trainings.items() if name not in least}
    for _ in range(TIMED):
        for name, steps in begun.items():
            began = time.thread_time()
            next(steps)
            least[name] = min(least.get(name, float("inf")), time.thread_time() - began)
    place.write_text(json.dumps(least), encoding="utf-8")
    return least
