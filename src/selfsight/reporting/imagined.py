"""The page of kept answers: what they are worth, where they differ, and a dozen of them. One HTML file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsight.reporting.answers import Restored, figure, head_of, shown
from selfsight.reporting.markup import table, tag
from selfsight.reporting.sections import section
from selfsight.run import replacing


@dataclass(frozen=True)
class Told:
    """What is known of a set of answers."""

    pictures: Sequence[Restored]
    deviation: np.ndarray
    """(S, S): standard deviation of the answers to an image, mean over images and channels, of 1."""
    numbers: Mapping[str, str]
    notes: Sequence[str]
    about: Mapping[str, Any]


def write_imagined(told: Told, out: Path) -> Path:
    """Writes the page. -> its path."""
    with replacing(out) as temporary:
        temporary.write_text(page(told), encoding="utf-8")
    return out


def page(told: Told) -> str:
    """The whole page as HTML."""
    about = told.about
    title = f"{about['images']:,} images, {about['answers']} answers to each"
    said = (
        f"From each image {about['corruption']} took what it takes; the restorer of {about['run']} answered to what "
        f"was left, {about['images_per_second']:g} images a second. Two answers are a pair for a task that compares "
        "views: good ones keep the class, and differ."
    )
    most, usual = float(told.deviation.max()), float(told.deviation.mean())
    strip = np.repeat((255 * (1 - told.deviation / max(most, 1e-6))).astype(np.uint8)[:, :, None], 3, 2)
    where = f"Over all images: dark is most, {most:.3f} of 1; on average {usual:.3f}."
    notes = tag("ul", [tag("li", note) for note in told.notes])
    main = tag(
        "main",
        section("worth", "What they are worth", table(("number", "value"), told.numbers.items(), "numbers"), notes),
        section("where", "Where answers differ", figure("where answers differ", strip), tag("p", where)),
        [shown(picture, number) for number, picture in enumerate(told.pictures)],
    )
    body = tag("body", tag("header", tag("h1", title), tag("p", said)), main)
    return "<!doctype html>\n" + tag("html", head_of(title), body, lang="en") + "\n"
