"""The corruptions a recipe can name, and the short form of naming some."""

from __future__ import annotations

from selfsight.corruption import Corruption
from selfsight.corruptions.blur import Blur
from selfsight.corruptions.chain import Chain
from selfsight.corruptions.cowmask import CowMask
from selfsight.corruptions.cropout import CropOut
from selfsight.corruptions.cutout import CutOut
from selfsight.corruptions.decolour import Decolour
from selfsight.corruptions.downsample import Downsample
from selfsight.corruptions.jpeg import Jpeg
from selfsight.corruptions.noise import Noise
from selfsight.corruptions.oneof import OneOf
from selfsight.corruptions.patterneddropout import PatternedDropout
from selfsight.corruptions.truncated import Truncated
from selfsight.errors import UserError, nearest

__all__ = [
    "Blur",
    "Chain",
    "CowMask",
    "CropOut",
    "CutOut",
    "Decolour",
    "Downsample",
    "Jpeg",
    "Noise",
    "OneOf",
    "PatternedDropout",
    "Truncated",
    "spelled",
]
NAMES: dict[str, type[Corruption]] = {
    final.__name__.lower(): final
    for final in (Blur, CowMask, CropOut, CutOut, Decolour, Downsample, Jpeg, Noise, PatternedDropout, Truncated)
}
"""By the names of the short form."""


def spelled(text: str) -> Corruption:
    """`decolour` is Decolour(), `decolour+downsample` a Chain of both, and `decolour/cutout` for each picture one;
    in whichever case, with their defaults.

    Raises UserError where a name is not known.
    """
    if "/" in text:
        return OneOf(corruptions=tuple(spelled(part) for part in text.split("/")))
    parts = [part.strip().lower() for part in text.split("+")]
    for part in parts:
        if part not in NAMES:
            raise UserError(
                f"There is no corruption {part!r}{nearest(part, NAMES)}: give one of {', '.join(NAMES)}, or several "
                "joined by + (one after the other) or / (each picture one of them)."
            )
    made = tuple(NAMES[part]() for part in parts)
    return made[0] if len(made) == 1 else Chain(corruptions=made)


def spelling(corruption: Corruption) -> str:
    """The short form of a corruption, without its settings: what `spelled` reads, but for choices within chains."""
    if isinstance(corruption, OneOf):
        return "/".join(spelling(one) for one in corruption.corruptions)
    parts = corruption.corruptions if isinstance(corruption, Chain) else (corruption,)
    return "+".join(spelling(one) if isinstance(one, Chain) else type(one).__name__.lower() for one in parts)
