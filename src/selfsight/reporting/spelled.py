"""The page of a speller: each picture after one token, two, three ..., and all pictures by how many they need.

One HTML file, no script and no network.
"""

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

SHOWN, THUMB = 112, 64
"""Pixels of a picture's longer side on a screen, at least; and of a thumbnail's."""


@dataclass(frozen=True)
class Spelled:
    """One picture and its spelling; every picture (H, W, C) uint8."""

    name: str
    truth: np.ndarray
    read: Sequence[np.ndarray]
    """After 1 ... T tokens."""
    added: Sequence[np.ndarray]
    """What each token changed, gray where nothing."""
    left: Sequence[np.ndarray]
    """What is missing after 1 ... T tokens, likewise."""
    errors: Sequence[float]
    """Mean squared error after 0 ... T tokens, pixels in [0, 1]."""
    floats: Sequence[int]
    """Sent after 1 ... T tokens."""
    bits: Sequence[float]
    """Sent after 1 ... T tokens with rounded numbers of fixed widths."""
    estimated: Sequence[float]
    """The same by the estimate for an entropy coder."""
    needs: int
    """Tokens for the error that was asked for."""


@dataclass(frozen=True)
class Then:
    """How the same few images were spelled at some step of the training."""

    step: int
    errors: Sequence[float]
    """Mean squared error after 0 ... T tokens, over images."""
    turned: float | None
    """The mean cosine of their tokens with the final ones; None where either is null."""


def write_spelled(
    pictures: Sequence[Spelled], told: str, run: str, skipped: Sequence[str], learned: Sequence[Then], out: Path
) -> Path:
    """Writes the page. -> its path. told: a sentence on what was asked."""
    with replacing(out) as temporary:
        temporary.write_text(page(pictures, told, run, skipped, learned), encoding="utf-8")
    return out


def page(pictures: Sequence[Spelled], told: str, run: str, skipped: Sequence[str], learned: Sequence[Then] = ()) -> str:
    """The whole page as HTML."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"Spelled out by {run}"),
        tag("style", Markup(SHEET)),
    )
    left_out = section("files", "Left out", tag("ul", [tag("li", text) for text in skipped])) if skipped else None
    body = tag(
        "body",
        tag("header", tag("h1", f"Spelled out by {run}"), tag("p", told)),
        tag("main", _sorted(pictures), [_one(one, i) for i, one in enumerate(pictures)], _learned(learned), left_out),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _sorted(pictures: Sequence[Spelled]) -> Markup:
    """Thumbnails by the number of tokens that each needs."""
    groups = []
    for count in sorted({one.needs for one in pictures}):
        some = [_picture(one.truth, f"{one.name}: {count}", THUMB) for one in pictures if one.needs == count]
        most = " or more" if count == max(len(one.read) for one in pictures) else ""
        groups += [tag("h3", f"{count} token{'' if count == 1 else 's'}{most}"), tag("div", some, class_="answers")]
    return section("lengths", "How many tokens each needs", *groups)


def _one(picture: Spelled, number: int) -> Markup:
    rows = [tag("div", _figure("picture", picture.truth), class_="answers")]
    for name, pictures in (("read after", picture.read), ("added by", picture.added), ("missing after", picture.left)):
        figures = [_figure(f"{name} {place}", pixels) for place, pixels in enumerate(pictures, 1)]
        rows.append(tag("div", figures, class_="answers"))
    lines = [
        (
            str(place),
            f"{error:.5f}",
            f"{-10 * np.log10(max(error, 1e-10)):.1f}",
            str(floats),
            f"{bits:.0f}",
            f"{some:.0f}",
        )
        for place, (error, floats, bits, some) in enumerate(
            zip(picture.errors[1:], picture.floats, picture.bits, picture.estimated, strict=True), 1
        )
    ]
    head = ("tokens", "squared error", "PSNR (dB)", "floats", "bits, fixed widths", "bits, estimate")
    return section(f"picture-{number}", picture.name, *rows, table(head, lines, picture.name))


def _learned(learned: Sequence[Then]) -> Markup | None:
    if not learned:
        return None
    most = len(learned[0].errors) - 1
    counts = sorted({1, max(1, most // 4), max(1, most // 2), most})
    head = ("step", *(f"squared error, {count} of {most} tokens" for count in counts), "cosine with the last tokens")
    rows = [
        (
            f"{then.step:,}",
            *(f"{then.errors[count]:.5f}" for count in counts),
            "-" if then.turned is None else f"{then.turned:.3f}",
        )
        for then in learned
    ]
    told = "The same few images of the run, spelled again each time its running probe spoke."
    return section("learned", "As it learned", tag("p", told, class_="note"), table(head, rows, "As it learned"))


def _figure(name: str, pixels: np.ndarray) -> Markup:
    return tag("figure", _picture(pixels, name, SHOWN), tag("figcaption", name, class_="note"))


def _picture(pixels: np.ndarray, name: str, least: int) -> Markup:
    side = max(least, max(pixels.shape[:2]))
    return tag("img", src=data_address(_png(pixels), "png"), alt=name, title=name, width=side)


def _png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(written, "PNG")
    return written.getvalue()
