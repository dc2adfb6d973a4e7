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


def write_answers(
    pictures: Sequence[Restored],
    corruption: str,
    run: str,
    skipped: Sequence[str],
    out: Path,
    against: Sequence[str] = (),
) -> Path:
    """Writes the page. against: what speaks against the answers, and stands above them. -> its path."""
    with replacing(out) as temporary:
        temporary.write_text(page(pictures, corruption, run, skipped, against), encoding="utf-8")
    return out


def page(
    pictures: Sequence[Restored], corruption: str, run: str, skipped: Sequence[str], against: Sequence[str] = ()
) -> str:
    """The whole page as HTML."""
    ways = len(pictures[0].answers)
    told = (
        f"From each picture {corruption} took what it takes; the restorer of {run} was shown what was left and "
        f"answered {ways} times, each time with other codes. No answer has seen the picture. Distances are in units of "
        "that of what was left: 1 is to do nothing."
    )
    body = tag(
        "body",
        tag("header", tag("h1", f"Restored {ways} ways"), tag("p", told), [tag("p", each) for each in against]),
        tag("main", [shown(picture, number) for number, picture in enumerate(pictures)], _left_out(skipped)),
    )
    return "<!doctype html>\n" + tag("html", head_of(f"Restored {ways} ways by {run}"), body, lang="en") + "\n"


def head_of(title: str) -> Markup:
    """The head of a page that shows pictures and asks nobody for anything."""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("style", Markup(SHEET)),
    )


def shown(picture: Restored, number: int) -> Markup:
    """One picture's section: itself, what was left, where the answers differ; and below, these."""
    differ = np.repeat((255 * (1 - picture.differ)).astype(np.uint8)[:, :, None], 3, 2)
    itself = [("picture", picture.truth), ("what was left", picture.left), ("where answers differ: dark", differ)]
    answers = [(f"answer {way + 1}", answer) for way, answer in enumerate(picture.answers)]
    rows = [tag("div", [figure(*one) for one in row], class_="answers") for row in (itself, answers)]
    numbers = table(("number", "value"), [(name, f"{v:.3g}") for name, v in picture.numbers.items()], picture.name)
    return section(f"picture-{number}", picture.name, *rows, numbers)


def figure(name: str, pixels: np.ndarray) -> Markup:
    """One picture (H, W, C) uint8 with its name below."""
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
