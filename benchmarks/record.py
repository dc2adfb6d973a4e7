"""What every benchmark prints and keeps: one JSON object with its claims, rows, machine and versions."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from selfsight.environment import PACKAGES, machine, version
from selfsight.run import write_json


@dataclass(frozen=True)
class Claim:
    """A number with its interval, and the bar it is held to."""

    name: str
    value: float
    low: float
    high: float
    n: int
    bar: float
    holds: bool


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with the two words that every benchmark takes."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, help="also write the JSON here")
    made.add_argument("--quick", action="store_true", help="a rough answer in ten minutes at most")
    return made


def kept(place: Path, told: dict[str, Any], make: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """The row at a place: read where an earlier call has made it, else `told` and what `make` makes of the rest, written
    whole or not at all."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, told | make(*given))
    return dict(json.loads(place.read_text(encoding="utf-8")))


def require_same(work: Path, settings: dict[str, Any]) -> None:
    """Stops where a folder holds rows of other settings, which would be taken for these."""
    place = work / "settings.json"
    held = kept(place, settings, dict)
    if held != settings:
        told = ", ".join(f"{name} {held.get(name)}" for name in settings if held.get(name) != settings[name])
        raise SystemExit(f"{work} holds rows made with {told}: give another --work.")


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t; of a single value nothing is known but itself."""
    mean, n = statistics.fmean(values), len(values)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(values) / n**0.5 if n > 1 else float("nan")
    return mean, mean - half, mean + half


def conclude(name: str, claims: list[Claim], rows: list[dict[str, Any]], out: Path | None) -> None:
    """Prints the object as the last line of stdout, and writes it to `out`."""
    told = {
        "benchmark": name,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "claims": [{name: _plain(value) for name, value in asdict(claim).items()} for claim in claims],
        "rows": rows,
    }
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told))


def _plain(value: Any) -> Any:
    """JSON knows no number for what is not known."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
