"""A picture of a table: one panel a set, one row a name, a dot with its range, as SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

PANEL, NAMES, ROW, HEAD, FOOT, GAP = 250, 190, 21, 78, 34, 54
"""Pixels: a panel's width, that of the names, a row's height, of the top and the bottom, between panels."""
COLOURS = {"reference": "#8a8f98", "compared": "#c4622d", "puzzle": "#2b6cb0"}
MEANING = {"reference": "references", "compared": "comparing views", "puzzle": "puzzles and restoring"}


@dataclass(frozen=True)
class Dot:
    """One value of one panel."""

    value: float
    low: float
    high: float


def dots(title: str, panels: Mapping[str, Mapping[str, Dot]], looks: Mapping[str, str], unit: str) -> str:
    """panels: by name, a dot for each row's name; looks: of each row, in the order in which rows stand."""
    names = list(looks)
    width, height = NAMES + len(panels) * (PANEL + GAP), HEAD + ROW * len(names) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12.5">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" fill="#222">{escape(title)}</text>',
    ]
    for i, look in enumerate(dict.fromkeys(looks.values())):
        parts.append(f'<circle cx="{20 + 175 * i}" cy="40" r="4" fill="{COLOURS[look]}"/>')
        parts.append(f'<text x="{30 + 175 * i}" y="44" fill="#555">{escape(MEANING[look])}</text>')
    for i, name in enumerate(names):
        y = HEAD + ROW * (i + 0.5)
        if i % 2 == 0:
            parts.append(f'<rect x="0" y="{y - ROW / 2}" width="{width}" height="{ROW}" fill="#f4f5f7"/>')
        parts.append(f'<text x="{NAMES - 10}" y="{y + 4}" text-anchor="end" fill="#222">{escape(name)}</text>')
    for number, (place, found) in enumerate(panels.items()):
        parts += _panel(NAMES + number * (PANEL + GAP), place, found, names, looks, unit)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    left: int, place: str, found: Mapping[str, Dot], names: Sequence[str], looks: Mapping[str, str], unit: str
) -> list[str]:
    low, high = min(dot.low for dot in found.values()), max(dot.high for dot in found.values())
    step = next(step for step in (1, 2, 5, 10, 20, 50) if (high - low) / step <= 6)
    low, high = step * (low // step), step * -(-high // step)
    bottom = HEAD + ROW * len(names)
    parts = [f'<text x="{left}" y="{HEAD - 14}" fill="#222" font-weight="600">{escape(place)}</text>']

    def at(value: float) -> float:
        return round(left + (value - low) / (high - low) * PANEL, 1)

    tick = low
    while tick <= high:
        parts.append(f'<line x1="{at(tick)}" x2="{at(tick)}" y1="{HEAD}" y2="{bottom}" stroke="#d5d8dd"/>')
        parts.append(f'<text x="{at(tick)}" y="{bottom + 17}" text-anchor="middle" fill="#555">{tick:g}{unit}</text>')
        tick += step
    for i, name in enumerate(names):
        if name in found:
            dot, y, colour = found[name], HEAD + ROW * (i + 0.5), COLOURS[looks[name]]
            parts.append(
                f'<line x1="{at(dot.low)}" x2="{at(dot.high)}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(f'<circle cx="{at(dot.value)}" cy="{y}" r="4" fill="{colour}"/>')
    return parts
