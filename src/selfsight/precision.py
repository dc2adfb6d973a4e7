"""Which precision a training steps faster in, on this machine: timed once, then remembered.

To time both costs seconds of every start, and a close race is won by either, so that one recipe could become two
trainings. What was clear is kept, by everything that decides it; what was close is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfsight.remembered import keep, recall

KEPT = "precision"
"""Under which name a timing is remembered."""
WORTH = 1.1
"""How much faster bf16 has to be to be taken: less is within the noise of a few timed steps."""
CLEAR = 1.2
"""How far from `WORTH`, as a factor either way, a gain has to lie to be remembered."""


@dataclass(frozen=True)
class Timed:
    """What a timing gave."""

    gain: float
    """How much faster a step is in bf16 than in fp32."""
    on: str = ""
    """The day it was timed, where it is remembered."""

    @classmethod
    def of(cls, took: Mapping[str, Sequence[float]]) -> Timed:
        """From seconds of some steps of both: the least of each, which a neighbour's load disturbs least."""
        return cls(min(took["32-true"]) / min(took["bf16-mixed"]))

    @property
    def precision(self) -> str:
        return "bf16-mixed" if self.gain >= WORTH else "32-true"

    def reason(self) -> str:
        """Why this precision, to stand behind its name."""
        when = f", on {self.on}" if self.on else ""
        if self.precision == "bf16-mixed":
            return f"timed {self.gain:.1f} x as fast as fp32{when}"
        return f"bf16 timed {self.gain:.1f} x as fast as fp32{when}, not worth it"


def recalled(place: Path | None) -> Timed | None:
    """What was timed before for such steps; None where nothing was, or long ago, or nothing that can be read."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        if held := recall(place, KEPT):
            return Timed(float(held["gain"]), str(held["on"]))
    return None


def remember(place: Path | None, timed: Timed) -> None:
    """Keeps what is clear."""
    if not WORTH / CLEAR < timed.gain < WORTH * CLEAR:
        keep(place, KEPT, {"gain": timed.gain})
