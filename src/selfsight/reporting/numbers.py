"""Numbers as a reader wants them: the same kind always looks the same, a missing one is a dash, and ticks are round."""

from __future__ import annotations

import math
import re
from typing import Any

DASH = "–"
THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
SHARES = re.compile(r"accuracy|recall|precision|retrieval|\bmAP\b|share|top-\d", re.IGNORECASE)
"""Metrics that are shares of something, told in percent. Others (NMI, ARI, ranks, slopes) are told as they are."""


def number(value: Any) -> float | None:
    """`value` as a finite float, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def is_share(name: str) -> bool:
    """Whether the metric of this name is told in percent."""
    return SHARES.search(name) is not None


def whole(value: Any) -> str:
    """12,345"""
    known = number(value)
    return DASH if known is None else f"{known:,.0f}".replace("-", MINUS)


def decimal(value: Any, digits: int = 3) -> str:
    """`digits` significant digits, in scientific notation only where it is tiny: 2.31, 0.0432, 1,234."""
    known = number(value)
    if known is None:
        return DASH
    if known == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(known))))
    written = f"{known:,.{places}f}" if places <= 6 else f"{known:.{digits - 1}e}"
    return written.replace("-", MINUS)


def percent(value: Any) -> str:
    """0.6123 as 61.2 %"""
    known = number(value)
    return DASH if known is None else f"{known * 100:.1f}{THIN}%".replace("-", MINUS)


def score(value: Any, share: bool) -> str:
    """61.2 % for a share, 0.512 for what is none."""
    known = number(value)
    if known is None:
        return DASH
    return percent(known) if share else f"{known:.3f}".replace("-", MINUS)


def interval(low: Any, high: Any, share: bool) -> str:
    """[58.9, 63.4], in percent for a share; "" where there is none."""
    ends = number(low), number(high)
    if ends[0] is None or ends[1] is None:
        return ""
    written = [f"{end * 100:.1f}" if share else f"{end:.3f}" for end in ends if end is not None]
    return f"[{written[0]}, {written[1]}]".replace("-", MINUS)


def difference(value: Any, share: bool) -> str:
    """+15.1 points for a share, +0.123 for what is none."""
    known = number(value)
    if known is None:
        return DASH
    written = f"{known * 100:+.1f} points" if share else f"{known:+.3f}"
    return written.replace("-", MINUS)


def duration(seconds: Any) -> str:
    """8.2 s, 12 min 5 s, 3 h 20 min."""
    known = number(seconds)
    if known is None:
        return DASH
    if known < 60:
        return f"{known:.1f} s"
    minutes, rest = divmod(round(known), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count(value: int, one: str, many: str | None = None) -> str:
    """1 image, 2 images."""
    return f"{whole(value)} {one if value == 1 else many or one + 's'}"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that lie in [low, high], about `wanted` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def tick_text(value: float, step: float) -> str:
    """A tick with as many decimals as the distance between ticks needs."""
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return f"{value:,.{places}f}".replace("-", MINUS)
