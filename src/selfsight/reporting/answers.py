"""The page of a restorer: each picture, what was left of it, and several answers to that. One HTML file, no network."""

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

SHOWN = 128
"""Pixels of the longer side of a picture on a screen, at least."""


@dataclass(frozen=True)
class Restored:
    """One picture and what became of it; every picture (H, W, C) uint8."""

    name: str
    truth: np.ndarray
    left: np.ndarray
    answers: Sequence[np.ndarray]
    differ: np.ndarray
    """(H, W) in [0, 1]: where the answers differ, 1 the most."""
    numbers: dict[str, float]
    """What is said of it, by name."""


def write_answers(pictures: Sequence[Restored], corruption: str, run: str, skipped: Sequence[str], out: Path) -> Path:
    """Writes the page. -> its path."""
    with replacing(out) as temporary:
        temporary.write_text(page(pictures, corruption, run, skipped), encoding="utf-8")
    return out


def page(pictures: Sequence[Restored], corruption: str, run: str, skipped: Sequence[str]) -> str:
    """The whole page as HTML."""
    ways = len(pictures[0].answers)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"Restored {ways} ways by {run}"),
        tag("style", Markup(SHEET)),
    )
    told = (
        f"From each picture {corruption} took what it takes; the restorer of {run} was shown what was left and "
        f"answered {ways} times, each time with other codes. No answer has seen the picture."
    )
    body = tag(
        "body",
        tag("header", tag("h1", f"Restored {ways} ways"), tag("p", told)),
        tag("main", [_one(picture, number) for number, picture in enumerate(pictures)], _left_out(skipped)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _one(picture: Restored, number: int) -> Markup:
    shown = [("picture", picture.truth), ("what was left", picture.left)]
    shown += [(f"answer {way + 1}", answer) for way, answer in enumerate(picture.answers)]
    differ = np.repeat((255 * (1 - picture.differ)).astype(np.uint8)[:, :, None], 3, 2)
    figures = [_figure(name, pixels) for name, pixels in [*shown, ("where answers differ: dark", differ)]]
    numbers = table(("number", "value"), [(name, f"{v:.3g}") for name, v in picture.numbers.items()], picture.name)
    return section(f"picture-{number}", picture.name, tag("div", figures, class_="answers"), numbers)


def _figure(name: str, pixels: np.ndarray) -> Markup:
    side = max(SHOWN, max(pixels.shape[:2]))
    image = tag("img", src=data_address(_png(pixels), "png"), alt=name, width=side, style="image-rendering:auto")
    return tag("figure", image, tag("figcaption", name, class_="note"))


def _png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(written, "PNG")
    return written.getvalue()


def _left_out(skipped: Sequence[str]) -> Markup | None:
    if not skipped:
        return None
    return section("files", "Left out", tag("ul", [tag("li", text) for text in skipped]))
