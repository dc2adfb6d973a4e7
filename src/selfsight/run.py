"""A run is one training on disk: a folder that says what was done, how it went and what came of it. Torch-free.

recipe.json         what was asked (the typed recipe, as `pretrain --config` reads it)
environment.json    versions, machine, git commit, command line
plan.json           what was settled at the start: steps, batch, precision and why, image size, constant-answer loss
series.jsonl        one line a step: the loss and the task's measures. A function of the recipe alone
pace.jsonl          one line a step: seconds, seconds spent waiting for data
probes.jsonl        the running probe: kNN accuracy, or label-free quality, beside the untrained encoder's
checkpoints/        step-00000123.safetensors; the last two are kept
encoder.safetensors the encoder at the last checkpoint, what `embed`, `evaluate` and `export` use
scores.json         what `evaluate` found
findings.json       what the run's own numbers say against it
exhibits/           pictures and neighbours for the report
keepsakes/          step-000000123.safetensors: what the task keeps of a few images as it learns (Tokens: their tokens)
skipped.csv duplicates.csv   what was left out, and what was there twice
report.html
finished.json       written last, when all steps are made
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from selfsight.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what is written there takes `path`'s place when the block ends well.

    The data is flushed to disk before the rename and the folder after it, so that a reader (or a machine that lost
    power) finds the old file or the new one, whole. Where the block raises, the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole records of a JSON-lines file; a last line that was cut off in writing is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


@dataclass(frozen=True)
class Run:
    """A run's folder. Reading what is not there yet gives an empty value, so that half a run can be looked at."""

    path: Path

    @staticmethod
    def create(path: Path) -> Run:
        """A new run in `path`, which must not hold one yet. Raises UserError where it does."""
        if (path / "recipe.json").exists():
            raise UserError(
                f"{path} already holds a run. Go on with it by `selfsight resume {path}`, or give another --out."
            )
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            (path / "exhibits").mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(
                f"Cannot write a run to {path}: {error.strerror}. Give a folder that can be written."
            ) from error
        return Run(path)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Run:
        """The run in `path`. Raises UserError where there is none."""
        if not (Path(path) / "recipe.json").is_file():
            raise UserError(
                f"{path} is not a run (it holds no recipe.json). Give a folder that `selfsight pretrain` made."
            )
        return Run(Path(path))

    @staticmethod
    def default_path(task: str) -> Path:
        """runs/<time>_<task>: where a run goes that was given no place; numbered where two start in one second."""
        first = Path("runs") / f"{datetime.now():%Y-%m-%dT%H-%M-%S}_{task.lower()}"
        path, number = first, 2
        while path.exists():
            path, number = first.with_name(f"{first.name}_{number}"), number + 1
        return path

    def json(self, name: str) -> Any:
        """The value in `name`.json, or {} where it has not been written."""
        path = self.path / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write(self, name: str, value: Any) -> None:
        """Writes `name`.json, atomically."""
        write_json(self.path / f"{name}.json", value)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The records of `name`.jsonl."""
        return read_lines(self.path / f"{name}.jsonl")

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Adds one record to `name`.jsonl in a single write."""
        with open(self.path / f"{name}.jsonl", "ab") as file:
            file.write(json.dumps(record).encode() + b"\n")

    def flush(self) -> None:
        """Brings the records to disk: a checkpoint must not know of steps that the records have lost."""
        for name in ("series", "pace", "probes"):
            path = self.path / f"{name}.jsonl"
            if path.exists():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())

    def rewind(self, step: int, names: Iterable[str] = ("series", "pace", "probes")) -> None:
        """Forgets every record after `step`, so that what is trained again is not written down twice."""
        for name in names:
            path = self.path / f"{name}.jsonl"
            if path.exists():
                kept = [record for record in read_lines(path) if record["step"] <= step]
                with replacing(path) as temporary:
                    temporary.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in kept))

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(step, file) of every checkpoint, oldest first."""
        found = (self.path / "checkpoints").glob("step-*.safetensors")
        named = ((re.fullmatch(r"step-(\d+)\.safetensors", file.name), file) for file in found)
        return sorted((int(match[1]), file) for match, file in named if match)

    def sweep(self) -> None:
        """Removes what a killed process left half-written."""
        for folder in (self.path, *(self.path / name for name in ("checkpoints", "exhibits", "keepsakes"))):
            for pattern in (".*.tmp", ".tmp*"):  # ours, and safetensors' own while it writes
                for file in folder.glob(pattern):
                    file.unlink(missing_ok=True)
