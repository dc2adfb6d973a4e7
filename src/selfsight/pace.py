"""How long a step takes, as the last whole training of the same kind here showed: what minutes are planned by.

A few steps timed before the start cost about as long as they take, and say less: a machine that is shared changes its
speed from second to second. Nor are all steps of a training alike, where pictures grow or tasks take turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.remembered import forget, keep, recall

LEAST, FIRST = 8, 100
"""Steps of a training that are worth to be remembered, and the first of them that are remembered one by one."""
SEEN, OFF = 10.0, 1.5
"""Seconds of steps after which a training is held against what is remembered, and by what factor it has to be off."""
STOPPED = 20.0
"""So many times as long as almost all steps no step takes, unless someone halted the machine."""


def usual_pace(place: Path | None, precision: str) -> tuple[float, str] | None:
    """(seconds of a step, the day that showed it); None where nothing is known."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        if (held := recall(place, _kept(precision))) and float(held["seconds"]) > 0:
            return float(held["seconds"]), str(held["on"])
    return None


def remember_pace(place: Path | None, precision: str, pace: Sequence[Mapping[str, Any]]) -> None:
    """Remembers a training's mean step, by its pace.jsonl; not where it was short, or gave way to others."""
    seconds = np.array([float(line["seconds"]) for line in pace if "threads" not in line])
    if len(pace) == len(seconds) >= LEAST:
        usual = seconds[seconds <= STOPPED * np.quantile(seconds, 0.95, method="lower")]
        first = [float(line["seconds"]) - float(line["waiting"]) for line in pace[:FIRST]]
        keep(place, _kept(precision), {"seconds": float(usual.mean()), "first": first})


class Expected:
    """Holds the first steps of a training against the same steps of the one that its minutes were planned by."""

    def __init__(self, place: Path | None, precision: str, minutes: float) -> None:
        self.place, self.what, self.minutes = place, _kept(precision), minutes
        self.then, self.since = list[float](), ""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if held := recall(place, self.what):
                self.then, self.since = [float(second) for second in held["first"]], str(held["on"])
        self.now: list[float] = []

    def look(self, seconds: float) -> str:
        """What to say after a step that took so long: once, where it will not be the minutes asked for; else ""."""
        if len(self.now) >= len(self.then):
            return ""
        self.now.append(seconds)
        if len(self.now) < len(self.then) and sum(self.now[1:]) < SEEN:
            return ""
        slower = sum(self.now[1:]) / max(
            1e-9, sum(self.then[1 : len(self.now)])
        )  # each first one is slow in its own way
        self.then = []
        if 1 / OFF < slower < OFF:
            return ""
        forget(self.place, self.what)
        return (
            f"Steps take {slower:.2g} times as long as on {self.since}: this will be about {slower * self.minutes:.2g} "
            f"minutes, not {self.minutes:.2g}. To have it timed anew, stop with Ctrl+C and start again."
        )


def _kept(precision: str) -> str:
    return f"pace in {precision}"
