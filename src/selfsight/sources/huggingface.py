"""A Hugging Face data set on disk: what `datasets.Dataset.save_to_disk` wrote. Nothing is fetched from anywhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from selfsight.errors import UserError, nearest
from selfsight.source import Item, Source
from selfsight.sources.file import split_named, stamp
from selfsight.sources.stack import class_name


@dataclass(frozen=True)
class HuggingFace(Source):
    """Good for sets that were saved to disk. A set on the Hub is to be loaded and saved once, by the user."""

    path: str
    """Folder with a Dataset or a DatasetDict; `~` is the home."""
    image_column: str | None = None
    """Column of images; None: the only one there is."""
    label_column: str | None = None
    """Column of classes; None: the only ClassLabel, or else `label`, or else no labels."""

    def open(self) -> list[Item]:
        """Items named by their row, behind the split's name in a DatasetDict ("test/00017" is of the split "val").

        Raises UserError where there is no such set, or its columns are not clear.
        """
        try:
            import datasets
        except ImportError as error:
            raise UserError(
                f"Reading {self.path} needs the package datasets. Install it by `pip install 'selfsight[huggingface]'`."
            ) from error
        path = Path(self.path).expanduser()
        if not path.is_dir():
            raise UserError(f"{self.path} is no folder. Give one that `Dataset.save_to_disk` wrote.")
        try:
            found = datasets.load_from_disk(str(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is no data set that was saved to disk: {error}") from error
        parts = dict(found) if isinstance(found, datasets.DatasetDict) else {"": found}
        return [item for key, part in sorted(parts.items()) for item in self._items(datasets, part, key, path / key)]

    def _items(self, datasets: Any, part: Any, key: str, folder: Path) -> list[Item]:
        column = self._column(part.features, self.image_column, datasets.Image, "image_column")
        if column is None:
            raise UserError(
                f"{self.path} has no column of images; it has {', '.join(part.features)}. Set image_column."
            )
        if isinstance(part.features[column], datasets.Image):
            part = part.cast_column(column, datasets.Image(decode=False))
        split = split_named(key)
        labels = None if split == "unsup" else self._labels(datasets, part)
        mark = " ".join(stamp(file) for file in sorted(folder.iterdir()))
        width, prefix = len(str(max(1, len(part) - 1))), f"{key}/" if key else ""
        rows = part.select_columns([column])
        return [
            Item(
                f"{prefix}{number:0{width}}",
                functools.partial(_content, rows, number, column),
                f"{mark} {number}",
                labels[number] if labels else None,
                split,
            )
            for number in range(len(part))
        ]

    def _column(self, features: Any, given: str | None, kind: Any, field: str) -> str | None:
        """The column that was asked for, or the only one of this kind."""
        if given is not None:
            if given not in features:
                raise UserError(
                    f"{self.path} has no column {given!r}{nearest(given, features)}; it has {', '.join(features)}."
                )
            return given
        found = [name for name, feature in features.items() if isinstance(feature, kind)]
        if len(found) > 1:
            raise UserError(f"{self.path} has several columns that would do: {', '.join(found)}. Set {field}.")
        return found[0] if found else None

    def _labels(self, datasets: Any, part: Any) -> list[str | None] | None:
        column = self._column(part.features, self.label_column, datasets.ClassLabel, "label_column")
        column = column or ("label" if "label" in part.features else None)
        if column is None:
            return None
        feature, values = part.features[column], part.with_format(None).select_columns([column])[column]
        if not isinstance(feature, datasets.ClassLabel):
            return [class_name(value, self.path) for value in values]
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]


def _content(rows: Any, number: int, column: str) -> bytes | Image.Image:
    cell = rows[number][column]
    if isinstance(cell, dict):
        if cell.get("bytes"):
            return cell["bytes"]
        if cell.get("path"):
            return Path(cell["path"]).read_bytes()
    if isinstance(cell, bytes | Image.Image):
        return cell
    raise ValueError("the row holds no image")
