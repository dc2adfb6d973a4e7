"""From examinations to numbers: detection, false alarms, whether component, cause and place are right, repair, time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from record import Claim

from doctor_examinations.examining import lines_of

Z = 1.96
BARS = {
    "detection": 0.95, "false alarms, plain": 0.0, "false alarms, odd": 1 / 18, "J": 0.85, "component top-1": 0.90,
    "cause top-1": 0.75, "place": 0.5, "repair shown": 0.70, "median seconds": 60.0,
}  # fmt: skip
LOWER_IS_BETTER = {"false alarms, plain", "false alarms, odd", "median seconds"}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    p, z2 = hits / n, Z * Z
    middle, half = p + z2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)


def rows_of(found: Iterable[dict[str, Any]], killed: Path) -> list[dict[str, Any]]:
    """One row a program: what was true, what was said, and whether that was right."""
    harm = {(line["host"], line["fault"]): line["killed"] for line in lines_of(killed) if line["fault"]}
    return [_row(line, harm.get((line["host"], line["id"]))) for line in found]


def _row(line: dict[str, Any], harmful: bool | None) -> dict[str, Any]:
    alarms = [finding for finding in line["findings"] if finding["grade"] != "NOTE"]
    row = {name: line[name] for name in ("kind", "id", "host", "seed", "seconds", "cpu", "broken", "rivals")}
    row["alarms"] = [f"{a['grade']} {a['code']} {a['component']}: {a['cause']} at {a['at']}" for a in alarms]
    row["detected"] = bool(alarms)
    if line["kind"] in ("fault", "double"):
        row |= _judged(line, alarms) | {"harmful": harmful}
    return row


def _judged(line: dict[str, Any], alarms: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether the first alarm names the right component, cause and place; of a double fault, either of the two."""
    from doctor_programs.faults import DOUBLES, FAULTS
    from doctor_programs.hosts import HOSTS

    host = next(host for host in HOSTS if host.name == line["host"])
    named = next(fault for fault in (*FAULTS, *DOUBLES) if fault.id == line["id"])
    truths = getattr(named, "truths", (named,))
    first = SimpleNamespace(**alarms[0]) if alarms else None
    repair = line["repair"]
    return {
        "truth": " + ".join(f"{truth.component}: {'|'.join(sorted(truth.causes))}" for truth in truths),
        "component": first is not None and any(first.component == truth.component for truth in truths),
        "cause": first is not None and any(first.cause in truth.causes for truth in truths),
        "place": first is not None and any(truth.found_at(host, first.at) for truth in truths),
        "placeable": any(truth.place for truth in truths),
        "learns": bool(repair and repair["better"]),
        "repaired": bool(repair and (repair["better"] or repair["silent"])),
    }


def claims(rows: list[dict[str, Any]]) -> list[Claim]:
    """The numbers that are held to a bar, with Wilson intervals."""
    faulty = [row for row in rows if row["kind"] == "fault" and row["harmful"]]
    clean, odd = ([row for row in rows if row["kind"] == kind] for kind in ("clean", "odd"))
    made = [
        _share("detection", [row["detected"] for row in faulty]),
        _share("false alarms, plain", [row["detected"] for row in clean]),
        _share("false alarms, odd", [row["detected"] for row in odd]),
        _share("component top-1", [row["component"] for row in faulty]),
        _share("cause top-1", [row["cause"] for row in faulty]),
        _share("place", [row["place"] for row in faulty if row["placeable"]]),
        _share("repair shown", [row["repaired"] for row in faulty]),
        _share("repair shown by learning", [row["learns"] for row in faulty]),
        _share("detection of double faults", [row["detected"] for row in rows if row["kind"] == "double"]),
    ]
    seconds = sorted(row["seconds"] for row in rows)
    if seconds:
        middle = statistics.median(seconds)
        made.append(Claim("median seconds", middle, seconds[0], seconds[-1], len(seconds), 60.0, middle <= 60))
    return [claim for claim in made if claim.n] + _beside(faulty, clean + odd)


def _share(name: str, hits: list[bool]) -> Claim:
    value = sum(hits) / len(hits) if hits else math.nan
    low, high = wilson(sum(hits), len(hits))
    bar = BARS.get(name, 0.0)
    return Claim(name, value, low, high, len(hits), bar, value <= bar if name in LOWER_IS_BETTER else value >= bar)


def _beside(faulty: list[dict[str, Any]], healthy: list[dict[str, Any]]) -> list[Claim]:
    """J = detection - false alarms: the doctor's, and each rival's on the same programs."""

    def youden(name: str, alarms: Any) -> Claim:
        hits, false = [bool(alarms(row)) for row in faulty], [bool(alarms(row)) for row in healthy]
        if not hits or not false:
            return Claim(name, math.nan, math.nan, math.nan, 0, 0.0, False)
        p, q = sum(hits) / len(hits), sum(false) / len(false)
        half = Z * math.sqrt(p * (1 - p) / len(hits) + q * (1 - q) / len(false))
        return Claim(name, p - q, p - q - half, p - q + half, len(hits) + len(false), BARS["J"], p - q >= BARS["J"])

    made = [youden("J", lambda row: row["detected"])]
    names = dict.fromkeys(name for row in faulty for name in row["rivals"])
    made += [youden(f"J of {name}", lambda row, name=name: row["rivals"].get(name)) for name in names]
    return [claim for claim in made if claim.n]
