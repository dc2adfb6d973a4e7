"""What the network is given, drawn: pictures of a frozen batch as they enter the program; and the masks it makes."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.nest import numbers

SHOWN, SIDE, ACROSS = 16, 64, 8
"""Pictures drawn of each tensor, their side in pixels, and how many stand in a row."""
ROWS = 4
"""Pictures whose maps are drawn."""


def drawn(case: Case) -> dict[str, bytes]:
    """Title -> PNG of every tensor of the first batch that looks like pictures: (N, C, H, W) or (N, V, C, H, W)."""
    found = {}
    for path, leaf in numbers(case.batches[0]).items():
        pictures = leaf.flatten(0, 1) if leaf.ndim == 5 else leaf
        if pictures.ndim == 4 and pictures.shape[1] in (1, 3) and min(pictures.shape[2:]) >= 4:
            shown = pictures[:SHOWN]
            low, high = shown.amin((1, 2, 3), keepdim=True), shown.amax((1, 2, 3), keepdim=True)
            stretched = (shown - low) / (high - low).clamp_min(1e-12)
            found[f"batch{path}, each stretched from its darkest to its brightest value"] = _strip(stretched, ACROSS)
    for title, maps in case.remembered("maps", dict[str, Tensor]).items():
        some = maps[:ROWS, :ACROSS]
        found[title] = _strip(some.flatten(0, 1)[:, None], some.shape[1])
    return found


def _strip(pictures: Tensor, across: int) -> bytes:
    """Pictures (K, C, H, W) in [0, 1] side by side, so many in a row, as PNG."""
    scaled = (pictures.clamp(0, 1) * 255).nan_to_num(0).to(torch.uint8)
    tiles = torch.nn.functional.interpolate(scaled.float(), size=(SIDE, SIDE), mode="nearest").to(torch.uint8)
    tiles = tiles.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    sheet = Image.new("RGB", (across * (SIDE + 2), -(-len(tiles) // across) * (SIDE + 2)), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(Image.fromarray(tile.numpy()), ((i % across) * (SIDE + 2), i // across * (SIDE + 2)))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
