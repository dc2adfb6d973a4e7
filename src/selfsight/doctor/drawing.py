"""What the network is given, drawn: the pictures of a frozen batch as they enter the program."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from selfsight.case import Case
from selfsight.instruments.nest import numbers

SHOWN = 16
SIDE = 64
"""Pictures drawn of each tensor, and their side in pixels."""


def drawn(case: Case) -> dict[str, bytes]:
    """Title -> PNG of every tensor of the first batch that looks like pictures: (N, C, H, W) or (N, V, C, H, W)."""
    found = {}
    for path, leaf in numbers(case.batches[0]).items():
        pictures = leaf.flatten(0, 1) if leaf.ndim == 5 else leaf
        if pictures.ndim == 4 and pictures.shape[1] in (1, 3) and min(pictures.shape[2:]) >= 4:
            found[f"batch{path}, each stretched from its darkest to its brightest value"] = _strip(pictures[:SHOWN])
    return found


def _strip(pictures: Tensor) -> bytes:
    """Pictures (K, C, H, W) side by side, eight in a row, as PNG."""
    low, high = pictures.amin((1, 2, 3), keepdim=True), pictures.amax((1, 2, 3), keepdim=True)
    scaled = ((pictures - low) / (high - low).clamp_min(1e-12) * 255).nan_to_num(0).to(torch.uint8)
    tiles = torch.nn.functional.interpolate(scaled.float(), size=(SIDE, SIDE), mode="nearest").to(torch.uint8)
    tiles = tiles.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    across = 8
    sheet = Image.new("RGB", (across * (SIDE + 2), -(-len(tiles) // across) * (SIDE + 2)), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(Image.fromarray(tile.numpy()), ((i % across) * (SIDE + 2), i // across * (SIDE + 2)))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
