"""Pictures: nearest neighbours of some images, and all images on a map. Each is cut out of one embedded sheet.

The sheet holds only the thumbnails that are shown, each with its border repeated, so that a scaled one does not bleed
into its neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from selfsight.reporting.charts import Axis, dots
from selfsight.reporting.evidence import Evidence, dict_at, rows_at
from selfsight.reporting.markup import Markup, tag
from selfsight.reporting.numbers import count, number, whole
from selfsight.reporting.sections import data_address, jpeg, missing, section

SIDE, BORDER, COLUMNS = 48, 4, 24
"""Pixels of a thumbnail in the sheet, of the border around it, and thumbnails a row."""
QUERIES, NEAREST = 12, 6
"""Images whose neighbours are shown, and neighbours of each."""
LARGE, SMALL = (960.0, 600.0, 40.0), (328.0, 328.0, 32.0)
"""Width and height of the map and side of a thumbnail on a screen and on a telephone, in CSS pixels."""
POINTS = 3000
"""Dots behind the map, at most."""


@dataclass(frozen=True)
class Thumbs:
    """The thumbnails of a run, and where each that is shown stands in the page's sheet."""

    sheet: Image.Image
    side: int
    """Of a thumbnail in `sheet`, pixels."""
    columns: int
    names: list[str]
    labels: list[str | None]
    places: dict[int, int] = field(default_factory=dict)
    """Image number -> place in the page's sheet; filled as images are shown."""

    def show(self, i: int, look: str = "", style: str = "", alike: bool = False, named: bool = False) -> Markup:
        """Image i. `alike` marks it as of the query's class; `named` writes its name beside it when it is enlarged."""
        place = self.places.setdefault(i, len(self.places))
        label = self.labels[i]
        said = f"{self.names[i]} ({label})" if label is not None else self.names[i]
        where = f"--x:{place % COLUMNS};--y:{place // COLUMNS}{';' + style if style else ''}"
        return tag(
            "span", role="img", aria_label=said + (", same class" if alike else ""), title=None if named else said,
            class_=" ".join(["thumb", *([look] if look else []), *(["alike"] if alike else [])]), style=where,
            tabindex=-1 if named else None, data_name=said if named else None,
        )  # fmt: skip

    def style(self) -> str:
        """The style rule that holds the sheet of everything shown so far; "" where nothing was."""
        if not self.places:
            return ""
        cell = SIDE + 2 * BORDER
        rows = math.ceil(len(self.places) / COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * cell, rows * cell))
        for i, place in self.places.items():
            sheet.paste(self._bordered(i), (place % COLUMNS * cell, place // COLUMNS * cell))
        return (
            f".thumb{{background-image:url({data_address(jpeg(sheet), 'jpeg')});--cell:{cell};--side:{SIDE};"
            f"--border:{BORDER};--wide:{sheet.width};--high:{sheet.height}}}"
        )

    def _bordered(self, i: int) -> Image.Image:
        left, top = i % self.columns * self.side, i // self.columns * self.side
        thumb = self.sheet.crop((left, top, left + self.side, top + self.side))
        pixels = np.asarray(thumb.resize((SIDE, SIDE), Image.Resampling.LANCZOS) if self.side != SIDE else thumb)
        return Image.fromarray(np.pad(pixels, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge"))


def thumbs(evidence: Evidence) -> Thumbs | None:
    """The run's thumbnails; None where there are none or they do not fit together."""
    names = evidence.exhibits.get("names")
    side, columns = number(evidence.exhibits.get("thumb")), number(evidence.exhibits.get("columns"))
    if not isinstance(names, list) or not names or not side or not columns:
        return None
    try:
        with Image.open(evidence.path / "exhibits" / "thumbs.png") as image:
            sheet = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    fitting = sheet.width // int(side) >= min(columns, len(names))
    if not fitting or sheet.height // int(side) * columns < len(names):
        return None
    given = evidence.exhibits.get("labels")
    labels = [*(given if isinstance(given, list) else []), *[None] * len(names)][: len(names)]
    known = [None if label is None else str(label) for label in labels]
    return Thumbs(sheet, int(side), int(columns), [str(name) for name in names], known)


def neighbour_section(evidence: Evidence, pictures: Thumbs | None) -> Markup:
    """The nearest images of a dozen, trained beside untrained, so that a person can judge."""
    title = "Nearest neighbours"
    queries = [row for row in rows_at(evidence.exhibits, "neighbours") if isinstance(row.get("query"), int)]
    if pictures is None or not queries:
        return section(
            "neighbours",
            title,
            missing("No neighbours yet; they are looked up when training ends", evidence.command("resume")),
        )
    cards, agreeing = [], {"trained": [0, 0], "untrained": [0, 0]}
    for row in queries[:QUERIES]:
        i = row["query"]
        if not 0 <= i < len(pictures.names):
            continue
        rows = []
        for who, tally in agreeing.items():
            near = _places(row.get(who), pictures)[:NEAREST]
            alike = [pictures.labels[i] is not None and pictures.labels[j] == pictures.labels[i] for j in near]
            if pictures.labels[i] is not None:
                tally[0] += sum(alike)
                tally[1] += sum(pictures.labels[j] is not None for j in near)
            shown = [pictures.show(j, alike=same) for j, same in zip(near, alike, strict=True)]
            row_of = tag("span", shown, class_="row")
            rows.append(tag("div", tag("span", who, class_="who"), row_of, class_=f"near {who}"))
        name = pictures.labels[i] or pictures.names[i].rpartition("/")[2]
        head = tag("div", pictures.show(i, "query"), tag("span", name, class_="name"), class_="asked")
        cards.append(tag("li", head, tag("div", rows)))
    total = _tally(agreeing)
    told = tag("p", "The images that lie nearest to the one on the left, nearest first.", total)
    return section("neighbours", title, told, tag("ul", cards, class_="cards"))


def _places(found: Any, pictures: Thumbs) -> list[int]:
    known = found if isinstance(found, list) else []
    return [j for j in known if isinstance(j, int) and 0 <= j < len(pictures.names)]


def _tally(agreeing: dict[str, list[int]]) -> str | None:
    (mine, of), (plain, of_plain) = agreeing["trained"], agreeing["untrained"]
    if not of:
        return None
    said = f" Underlined: same class, {whole(mine)} of {whole(of)} labelled neighbours with the trained encoder"
    return said + (f", {whole(plain)} of {whole(of_plain)} untrained." if of_plain else ".")


def map_section(evidence: Evidence, pictures: Thumbs | None) -> Markup:
    """All images in the plane, like beside like, thinned out so that none covers another."""
    drawn = dict_at(evidence.exhibits, "map")
    places = _positions(drawn.get("xy"))
    if pictures is None or len(places) != len(pictures.names) or not np.isfinite(places).all(axis=1).any():
        return section("map", "Map", missing("No map yet; it is drawn when training ends", evidence.command("resume")))
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    few = spread(places, known, SMALL)
    many = spread(places, known, LARGE, first=few)
    items = []
    for i in many:
        x, y = places[i]
        side = f"{'right' if x > 0.5 else 'left'} {'above' if y > 0.5 else 'below'}{'' if i in set(few) else ' more'}"
        items.append(pictures.show(i, side, f"--px:{x:.3f};--py:{y:.3f}", named=True))
    axis = Axis(0.0, 1.0)
    some = known[:: math.ceil(len(known) / POINTS)]
    behind = tag(
        "path", d=dots([(float(places[i][0]), 1 - float(places[i][1])) for i in some], axis, axis), class_="dots"
    )
    svg = tag("svg", behind, viewBox="0 0 1000 1000", preserveAspectRatio="none", aria_hidden="true")
    method = drawn.get("method") or "two dimensions"
    told = tag(
        "p",
        f"Images that the trained encoder finds alike lie close together ({method}; how far apart distant groups are ",
        "means little). Each dot is an image; as many as fit are drawn without covering one another. ",
        "Point at one, or tap it, to enlarge it.",
    )
    called = f"Map of {count(len(known), 'image')}"
    return section("map", "Map", told, tag("div", svg, items, class_="map", role="group", aria_label=called))


def _positions(found: Any) -> np.ndarray:
    """(n, 2) in [0, 1]; NaN where a pair is not two finite numbers."""
    pairs = found if isinstance(found, list) else []
    known = [pair if isinstance(pair, list) and len(pair) == 2 else [None, None] for pair in pairs]
    return np.clip(
        np.array([[number(value) for value in pair] for pair in known], dtype=float).reshape(-1, 2), 0.0, 1.0
    )


def spread(
    places: np.ndarray, candidates: Iterable[int], box: tuple[float, float, float], first: Sequence[int] = ()
) -> list[int]:
    """Which images can be shown side by side in a box (width, height, side) without one covering another.

    places (n, 2) in [0, 1]: where an image stands between the left (top) and the right (bottom) end of its way. Those
    in `first` come first; then they are taken in their order.
    """
    room = np.array([box[0] - box[2], box[1] - box[2]])
    taken: list[int] = []
    for i in [*first, *candidates]:
        if taken and (np.abs(places[taken] - places[i]) * room < box[2]).all(axis=1).any():
            continue
        taken.append(int(i))
    return taken
