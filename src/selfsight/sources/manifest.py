"""A table that lists image files: CSV, TSV or Parquet, one row an image, with its label and split where it has them.

A column of Parquet may also hold the files themselves, as bytes or as {bytes, path}, the way Hugging Face saves them.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsight.errors import UserError, nearest
from selfsight.source import Item, Source
from selfsight.sources.file import EXTENSIONS, file_item, split_named, stamp
from selfsight.sources.stack import class_name

ENDINGS = (".csv", ".tsv", ".parquet")
Table = dict[str, Sequence[Any]]


@dataclass(frozen=True)
class Manifest(Source):
    """Good where labels or splits are kept apart from the folders. A missing file is listed, then skipped."""

    path: str
    """The table; `~` is the home."""
    image_column: str = "path"
    """Column with the image's path, relative to `root`, or with the image file itself (Parquet)."""
    label_column: str | None = "label"
    """Column with the class's name; an empty cell is an image without one. None: no labels."""
    split_column: str | None = "split"
    """Column with "train", "val" (also valid, test ...) or "unsup"; may be empty. None: no splits."""
    root: str | None = None
    """Folder that paths are relative to; None: the table's own."""

    def open(self) -> list[Item]:
        """One item a row, named by its path as written (with "#row" where a path comes again).

        Raises UserError where the table or a column is missing, or a cell cannot be understood. "label" and "split",
        the default columns, may be absent, unless one of nearly that name is there.
        """
        path = Path(self.path).expanduser()
        if not path.is_file() or path.suffix.lower() not in ENDINGS:
            what = "is no table that can be read" if path.exists() else "does not exist"
            raise UserError(f"{self.path} {what}. Give a file that ends in {', '.join(ENDINGS)}.")
        table = _parquet(path, self._wanted()) if path.suffix.lower() == ".parquet" else _text_table(path)
        images = self._column(table, "image_column", self.image_column)
        labels = self._column(table, "label_column", self.label_column)
        splits = self._column(table, "split_column", self.split_column)
        if not images:
            raise UserError(f"{self.path} holds a header and no rows. Add one row for each image.")
        root = path.parent if self.root is None else Path(self.root).expanduser()
        mark, taken, items = stamp(path), set[str](), []
        for row, cell in enumerate(images):
            label = class_name(labels[row], self.path) if labels else None
            split = self._split(splits[row], row) if splits else None
            item = _item(cell, row, len(images), root, label, split, mark, taken)
            if item is None:
                raise UserError(
                    f"{self.path}: row {row + 1} has nothing in its column {self.image_column!r}. Fill it in."
                )
            taken.add(item.name)
            items.append(item)
        return sorted(items, key=lambda item: item.name)

    def _wanted(self) -> set[str]:
        return {name for name in (self.image_column, self.label_column, self.split_column) if name}

    def _column(self, table: Table, field: str, name: str | None) -> Sequence[Any]:
        """The column's cells; empty where there is to be none."""
        if name is None or name in table:
            return [] if name is None else table[name]
        hint = nearest(name, table)
        optional = field != "image_column" and name == type(self).__dataclass_fields__[field].default
        alike = name.lower() in {str(key).strip().lower().removesuffix("s") for key in table}
        if optional and not alike:
            return []
        raise UserError(f"{self.path} has no column {name!r}{hint}; it has {', '.join(map(repr, table))}. Set {field}.")

    def _split(self, cell: Any, row: int) -> str | None:
        if cell is None or not str(cell).strip():
            return None
        split = split_named(str(cell))
        if split is None:
            raise UserError(
                f"{self.path}: row {row + 1} has {cell!r} in its column {self.split_column!r}. "
                'Write "train", "val", "unsup" or nothing.'
            )
        return split


def _item(
    cell: Any, row: int, rows: int, root: Path, label: str | None, split: str | None, mark: str, taken: set[str]
) -> Item | None:
    """One row as an item; None where the cell is empty."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        label = None if split == "unsup" else label
        return Item(f"{row:0{len(str(rows - 1))}}", functools.partial(bytes, cell), f"{mark} {row}", label, split)
    if not cell or not str(cell).strip():
        return None
    written = str(cell).strip()
    name = written.replace("\\", "/")
    return file_item(root / Path(written).expanduser(), f"{name}#{row + 1}" if name in taken else name, label, split)


def _text_table(path: Path) -> Table:
    """Columns of a CSV or TSV file. A .csv is divided by whichever of comma, semicolon, tab its header has most of."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from error
    header = text.split("\n", 1)[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if not rows:
        raise UserError(f"{path} is empty. Give a table whose first row names the columns.")
    names = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise UserError(
                f"{path}: row {number} has {len(row)} cells, the header {len(names)}. Quote what has a {delimiter!r}."
            )
    if any(Path(name).suffix.lower() in EXTENSIONS for name in names):
        raise UserError(
            f"{path} has no header: its first row is {', '.join(names)!r}. Name the columns, like path,label."
        )
    return {name: [row[place] for row in rows[1:]] for place, name in enumerate(names)}


def _parquet(path: Path, wanted: set[str]) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"Reading {path} needs pyarrow. Install it by `pip install 'selfsight[parquet]'`.") from error
    try:
        names = pyarrow.parquet.read_schema(path).names
        table = pyarrow.parquet.read_table(path, columns=[name for name in names if name in wanted])
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    columns: Table = dict.fromkeys(names, ())  # those that nobody asked for are named, not read
    return columns | {name: table[name].to_pylist() for name in table.column_names}
