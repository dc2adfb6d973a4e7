"""Whether pictures were reshaped where they should have been permuted, told from the pictures alone.

A picture that was stored (H, W, C) and *reshaped* to (C, H, W) looks like three squeezed, speckled thirds of itself.
Read in the order in which it was stored, neighbours agree again. Our own construction.

Shapes: M pictures, C channels, H, W.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.instruments.evidence import SURE, sign_p
from selfsight.observations.pictures import flat, roughness

MARGIN = 1.4
"""How much rougher pictures have to be than their re-reading. Measured, medians: reshaped photographs and shapes of 32
to 224 pixels, also rotated and cropped, 1.7 to 5.3; right ones .3 to .7; noise 1.0."""
MOST = 64
"""Pictures that are looked at."""


@dataclass(frozen=True)
class Misread:
    """How pictures have to be read to make sense."""

    order: str
    """The order in which the numbers lie: "HWC"."""
    ratio: float
    """How many times rougher they are as they are; inf where their channels become one and the same picture."""
    p: float
    count: int


def misread(shown: Tensor) -> Misread | None:
    """The order in which pictures (M, C, H, W) ought to be read; None where they are right, or it cannot be told."""
    shown = shown[~flat(shown)][:MOST].float()
    if shown.shape[1] not in (3, 4) or len(shown) < 2:
        return None
    found = _one_picture(shown)
    down, across = shown.diff(dim=2).abs().mean(), shown.diff(dim=3).abs().mean()
    if found or min(down, across) < 0.05 * max(down, across):  # stripes go well with any reading
        return found
    best: Misread | None = None
    now = roughness(shown)
    for order in ORDERS:
        then = torch.stack([roughness(_read(turned, order)) for turned in _turned(shown)]).amin(0)
        ratio = float((now / then.clamp_min(1e-12)).median())
        p = sign_p(int((then < now).sum()), len(shown))
        if ratio >= MARGIN and p < SURE and (best is None or ratio > best.ratio):
            best = Misread(order, ratio, p, len(shown))
    return best


def _one_picture(shown: Tensor) -> Misread | None:
    """A grey picture repeated along the wrong dimension: read in another order, its channels are bit-equal."""
    if _channels_differ(shown).any():
        for order in ORDERS:
            for turned in _turned(shown):
                if not _channels_differ(_read(turned, order)).any():
                    return Misread(order, float("inf"), 0.0, len(shown))
    return None


def _channels_differ(shown: Tensor) -> Tensor:
    return (shown != shown[:, :1]).flatten(1).any(1)


ORDERS = {"HWC": (0, 3, 1, 2), "HCW": (0, 2, 1, 3)}
"""Orders of the numbers, and the permutation that brings each to (M, C, H, W)."""


def _read(shown: Tensor, order: str) -> Tensor:
    sizes = dict(zip("CHW", shown.shape[1:], strict=True))
    return shown.reshape(len(shown), *(sizes[letter] for letter in order)).permute(ORDERS[order])


def _turned(shown: Tensor) -> Iterator[Tensor]:
    """The eight ways in which augmentation may have turned and mirrored them."""
    for quarter in range(4):
        turned = torch.rot90(shown, quarter, (2, 3))
        yield turned
        yield turned.flip(3)
