"""Which precision a training steps faster in, on this machine: timed once, then remembered.

To time both costs seconds of every start, and a close race is won by either, so that one recipe could become two
trainings. What was clear is kept beside the packed images, by everything that decides it; what was close is not.

Shapes: N images a micro-batch, of C channels and side S.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from selfsight import __version__
from selfsight.environment import machine, version
from selfsight.recipe import Recipe, to_json
from selfsight.run import write_json
from selfsight.store import cache

WORTH = 1.1
"""How much faster bf16 has to be to be taken: less is within the noise of a few timed steps."""
HOLDS = 30
"""Days for which a timing is remembered."""
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
    if place is None:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        held = json.loads(place.read_text(encoding="utf-8"))
        if (date.today() - date.fromisoformat(held["on"])).days <= HOLDS:
            return Timed(float(held["gain"]), str(held["on"]))
    return None


def remember(place: Path | None, timed: Timed) -> None:
    """Keeps what is clear. A cache that cannot be written only costs the next start its seconds."""
    if place and not WORTH / CLEAR < timed.gain < WORTH * CLEAR:
        with contextlib.suppress(OSError):
            write_json(place, asdict(Timed(timed.gain, date.today().isoformat())))


def kept(recipe: Recipe, size: int, channels: int, n: int, reads: Mapping[str, str]) -> Path | None:
    """Where the timing of such steps is kept: by machine, threads, versions, and all that a step is made of, earlier
    runs that it reads among them, by their marks. None where there is no such place, as nobody has a home."""
    decides = {
        "machine": machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
        "versions": [__version__, torch.__version__, *map(version, ("timm", "lightning-fabric", "numba"))],
        "step": [
            to_json(part) for part in (recipe.task, recipe.backbone, recipe.optimizer, recipe.growth, recipe.fused)
        ],
        "reads": dict(reads),
        "batch": [n, recipe.accumulate, channels, size],
    }
    mark = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    try:
        return cache().parent / "precision" / f"{mark}.json"
    except RuntimeError:
        return None
