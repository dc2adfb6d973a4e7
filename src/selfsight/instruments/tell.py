"""The tell table: numbers that a loss stays at when nothing is learned, and what each of them means.

Seen in real trainings: ln(2N - 1) in SimCLR's issue trackers, ln of the number of prototypes with SwAV and DINO, ln 2
with a soft margin, the margin itself with triplets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

NEAR = 2e-3
"""How near a mean loss has to be, relative: real trainings that were stuck sat within a thousandth."""


def tells(loss: float, examples: int | None, widths: Iterable[int], error: float = 0.0) -> list[str]:
    """What it means that a loss stays at this value; nothing where it is no known number.

    examples: N of a batch; widths: how many numbers the outputs have; error: standard error of the loss.
    """
    known: list[tuple[float, str]] = [(math.log(2), "ln 2: both answers of two as likely")]
    if examples and examples > 1:
        known += [
            (math.log(2 * examples - 1), f"ln(2N - 1) with N = {examples}: every candidate as near as the partner"),
            (math.log(2 * examples), f"ln 2N with N = {examples}: as above, each view a candidate of itself"),
            (math.log(examples), f"ln N with N = {examples}: every other example as near as the right one"),
        ]
    known += [(math.log(width), f"ln {width}: every one of {width} outputs as likely") for width in widths if width > 2]
    tolerance = max(NEAR * abs(loss), 2 * error)
    return list(dict.fromkeys(meaning for value, meaning in known if abs(loss - value) <= tolerance))
