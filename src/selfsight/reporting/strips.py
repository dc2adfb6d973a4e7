"""The page of masks: each picture, what its parts compose, and every part through its mask. One HTML file, no
network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from selfsight.reporting.markup import Markup, table, tag
from selfsight.reporting.page import POLICY
from selfsight.reporting.sections import data_address, section
from selfsight.reporting.style import SHEET
from selfsight.run import replacing

SHOWN = 112
"""Pixels of the longer side of a picture on a screen, at least."""


@dataclass(frozen=True)
class Strip:
    """One picture taken apart; pictures (H, W, C) uint8, masks (H, W) in [0, 1]."""

    name: str
    picture: np.ndarray
    composed: np.ndarray
    masks: Sequence[np.ndarray]
    parts: Sequence[np.ndarray]
    """What each part shows where its mask lies."""
    words: Sequence[str]
    """What each mask is like: full, empty, constant, repeated, or nothing."""
    numbers: dict[str, float]


def write_strips(strips: Sequence[Strip], run: str, told: str, out: Path) -> Path:
    """Writes the page. -> its path."""
    title = f"Taken apart by {run}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("style", Markup(SHEET)),
    )
    header = tag("header", tag("h1", title), tag("p", told))
    body = tag("body", header, tag("main", [_one(strip, number) for number, strip in enumerate(strips)]))
    with replacing(out) as temporary:
        temporary.write_text("<!doctype html>\n" + tag("html", head, body, lang="en") + "\n", encoding="utf-8")
    return out


def _one(strip: Strip, number: int) -> Markup:
    shown = [_figure("picture", strip.picture), _figure("composed of its parts", strip.composed)]
    for place, (mask, part, word) in enumerate(zip(strip.masks, strip.parts, strip.words, strict=True), 1):
        named = f"mask {place}: {mask.mean():.0%}" + (f", {word}" if word else "")
        shown += [_figure(named, np.repeat((255 * mask).round().astype(np.uint8)[:, :, None], 3, 2))]
        shown += [_figure(f"part {place}", part)]
    numbers = table(("number", "value"), [(name, f"{v:.3g}") for name, v in strip.numbers.items()], strip.name)
    return section(f"picture-{number}", strip.name, tag("div", shown, class_="answers"), numbers)


def _figure(name: str, pixels: np.ndarray) -> Markup:
    written = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(written, "PNG")
    side = max(SHOWN, max(pixels.shape[:2]))
    image = tag("img", src=data_address(written.getvalue(), "png"), alt=name, width=side)
    return tag("figure", image, tag("figcaption", name, class_="note"))
