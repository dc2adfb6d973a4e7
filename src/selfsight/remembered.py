"""What a start found out and the next one need not: kept by all that decides it, and believed for a while.

A precision that was clearly faster, the memory that a step takes and the time that steps of a finished training took
cost a start seconds to find out. Each is a file beside the packed images. A cache that cannot be read or written costs
the next start these seconds, and nothing else.

Shapes: N images a micro-batch, of C channels and side S.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from selfsight import __version__
from selfsight.environment import machine, version
from selfsight.recipe import Recipe, to_json
from selfsight.run import write_json
from selfsight.store import cache

HOLDS = 30
"""Days for which it is believed."""


def place(recipe: Recipe, size: int, channels: int, n: int, reads: Mapping[str, str]) -> Path | None:
    """The folder for such steps: by machine, threads, versions, and all that a step is made of, earlier runs that it
    reads among them, by their marks. None where there is no such place, as nobody has a home, and for parts from
    elsewhere, whose code may change from one start to the next."""
    step = (recipe.task, recipe.backbone, recipe.optimizer, recipe.growth, recipe.fused)
    if not all(type(part).__module__.startswith("selfsight.") for part in _parts(step)):
        return None
    decides = {
        "machine": machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
        "kept memory": os.environ.get("SELFSIGHT_KEEP_MEMORY", ""),
        "versions": [_code(), torch.__version__, *map(version, ("timm", "lightning-fabric", "numba"))],
        "step": to_json(step),
        "reads": dict(reads),
        "batch": [n, recipe.accumulate, channels, size],
    }
    mark = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    try:
        return cache().parent / "steps" / mark
    except RuntimeError:
        return None


def _parts(value: Any) -> Iterator[Any]:
    """All objects within a recipe's parts whose code matters."""
    if isinstance(value, tuple):
        for one in value:
            yield from _parts(one)
    elif dataclasses.is_dataclass(value):
        yield value
        yield from _parts(tuple(getattr(value, field.name) for field in dataclasses.fields(value)))


@functools.cache
def _code() -> str:
    """Changes with this package's own code."""
    times = [path.stat().st_mtime_ns for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return f"{__version__} {len(times)} {max(times)}"


def recall(where: Path | None, what: str) -> dict[str, Any] | None:
    """What `keep` was given, and "on", the day; None where nothing is kept, or since long ago, or nothing readable."""
    if where is None:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        held = json.loads((where / f"{what}.json").read_text(encoding="utf-8"))
        if (date.today() - date.fromisoformat(held["on"])).days <= HOLDS:
            return dict(held)
    return None


def keep(where: Path | None, what: str, told: Mapping[str, Any]) -> None:
    """Keeps `told`, numbers and texts, for a while."""
    if where is not None:
        with contextlib.suppress(OSError):
            where.mkdir(parents=True, exist_ok=True)
            _sweep(where)
            write_json(where / f"{what}.json", {**told, "on": date.today().isoformat()})


def _sweep(where: Path) -> None:
    """Removes what nobody believes any more."""
    for other in where.parent.iterdir():
        if other != where and time.time() - other.stat().st_mtime > 2 * HOLDS * 86_400:
            shutil.rmtree(other, ignore_errors=True)


def forget(where: Path | None, what: str) -> None:
    """As if it had never been kept."""
    if where is not None:
        with contextlib.suppress(OSError):
            (where / f"{what}.json").unlink(missing_ok=True)
