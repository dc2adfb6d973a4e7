"""Plain JPEGs, which most image files are, straight from libjpeg-turbo: no detour through a picture's many modes.

Plain is a JPEG of gray or of YCbCr in eight bits that says nothing else: no orientation, no colour profile, no CMYK.
What Pillow decodes of it is the same to the last bit (`tests/images/test_turbo.py`), as both ask the same library; all
others, damaged ones among them, are Pillow's. Needs simplejpeg, an extra.

Shapes: H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

import numpy as np

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

BEGIN, SCAN = b"\xff\xd8", 0xDA
FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive, all by Huffman codes."""
SILENT = {0xDB, 0xC4, 0xDD, 0xFE}
"""Tables, the restart interval, comments: they change nothing of what is shown."""


def shape(content: bytes) -> tuple[int, int, int] | None:
    """(H, W, C) of a plain JPEG; None of all else."""
    if not content.startswith(BEGIN):
        return None
    at, found = 2, None
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        body = content[at + 4 : at + 2 + length]
        if marker == SCAN:
            return found
        if marker in FRAMES:
            found = _frame(body)
            if found is None:
                return None
        elif marker not in SILENT and not (marker == 0xE0 and body.startswith(b"JFIF\0")):
            return None
        at += 2 + length
    return None


def _frame(body: bytes) -> tuple[int, int, int] | None:
    """(H, W, C) by the header of a frame: 8 bits, and one component or the three that JFIF numbers 1, 2, 3."""
    if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3) or len(body) < 6 + 3 * body[5]:
        return None
    if body[5] == 3 and (body[6], body[9], body[12]) != (1, 2, 3):
        return None
    return int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]


def decoded(content: bytes, most: int) -> np.ndarray | None:
    """(H, W, C) uint8 of a plain JPEG whose shorter side is below `most`; None of all else, and of damaged ones."""
    found = shape(content) if simplejpeg is not None else None
    if found is None or not 0 < min(found[:2]) < most:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(content, "RGB" if found[2] == 3 else "GRAY"))
    except ValueError:
        return None
