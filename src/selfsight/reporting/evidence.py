"""Everything a run's folder holds that a report can speak of. What is missing is empty, what is broken is said."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from selfsight.errors import UserError
from selfsight.reporting.numbers import number
from selfsight.run import Run

Records = list[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """One run, read once. The formats are those of `selfsight.run`."""

    path: Path
    recipe: dict[str, Any]
    environment: dict[str, Any]
    plan: dict[str, Any]
    scores: dict[str, Any]
    findings: Records
    exhibits: dict[str, Any]
    puzzles: dict[str, Any]
    series: Records
    pace: Records
    probes: Records
    skipped: list[list[str]] | None
    """Rows of skipped.csv without its head; None where the file is not there."""
    duplicates: list[list[str]] | None
    """Rows of duplicates.csv, its head first; None where the file is not there."""

    @property
    def task(self) -> str:
        """What the training asked, by name."""
        path = dict_at(self.recipe, "task").get("class_path", "")
        return str(self.plan.get("task") or str(path).rpartition(".")[2] or "A training")

    @property
    def data(self) -> str:
        """Where the images came from: the folder or the name that the recipe gives."""
        given = self.recipe.get("data")
        if not isinstance(given, dict):
            return str(given or "")
        fields = dict_at(given, "init_args")
        named = next((fields[key] for key in ("path", "name") if fields.get(key)), None)
        return str(named or str(given.get("class_path", "")).rpartition(".")[2])

    @property
    def steps(self) -> int:
        """The last step that was written down."""
        return int(self.series[-1].get("step", len(self.series))) if self.series else 0

    @property
    def losses(self) -> list[float]:
        """The loss of each step; NaN where it was not a number."""
        return column(self.series, "loss")

    @property
    def evaluations(self) -> Records:
        """What `evaluate` found each time, the latest last."""
        return rows_at(self.scores, "evaluations")

    def command(self, verb: str, rest: str = "") -> str:
        """`selfsight VERB RUN REST`, as it can be pasted into a shell."""
        return f"selfsight {verb} {shlex.quote(str(self.path))}{' ' + rest if rest else ''}"


def read(run: Run) -> Evidence:
    """Reads a run. Raises UserError where one of its files is broken."""

    def read_json(name: str, empty: T) -> T:
        value = _whole(run.path / f"{name}.json", lambda: run.json(name))
        return value if isinstance(value, type(empty)) and value else empty

    def read_series(name: str) -> Records:
        rows = _whole(run.path / f"{name}.jsonl", lambda: run.lines(name))
        return [row for row in rows if isinstance(row, dict) and number(row.get("step")) is not None]

    return Evidence(
        path=run.path,
        recipe=read_json("recipe", {}),
        environment=read_json("environment", {}),
        plan=read_json("plan", {}),
        scores=read_json("scores", {}),
        findings=rows_at({"all": read_json("findings", [None])}, "all"),
        exhibits=read_json("exhibits/exhibits", {}),
        puzzles=read_json("exhibits/puzzles", {}),
        series=read_series("series"),
        pace=read_series("pace"),
        probes=read_series("probes"),
        skipped=skipped[1:] if (skipped := _rows(run.path / "skipped.csv")) is not None else None,
        duplicates=_rows(run.path / "duplicates.csv"),
    )


def column(rows: Records, key: str) -> list[float]:
    """One value of each row, NaN where it is missing or not finite."""
    found = (number(row.get(key)) for row in rows)
    return [np.nan if value is None else value for value in found]


def dict_at(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The dictionary under `key`, or an empty one where there is something else."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def texts_at(parent: dict[str, Any], key: str) -> list[str]:
    """The texts in the list under `key`, empty ones left out."""
    value = parent.get(key)
    return [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []


def rows_at(parent: dict[str, Any], key: str) -> Records:
    """The dictionaries in the list under `key`."""
    value = parent.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _whole(path: Path, reader: Callable[[], T]) -> T:
    try:
        return reader()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}), so no report can be written. "
            "Restore it or remove it; the report then says that it is missing."
        ) from error


def _rows(path: Path) -> list[list[str]] | None:
    if not path.exists():
        return None
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        return [row for row in csv.reader(line.replace("\0", "") for line in file) if row]
