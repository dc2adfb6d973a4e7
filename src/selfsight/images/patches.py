"""Square patches taken out of images and pasted into them, each at a place of its own, in whole pixels.

Shapes: N images, C channels, H W side, p side of a patch; top, left (N,) int64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def taken(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The patch of each image whose first pixel is (top, left): (N, C, H, W) -> (N, C, size, size)."""
    return images[_where(top, left, size)].permute(0, 3, 1, 2)


def pasted(images: Tensor, patches: Tensor, top: Tensor, left: Tensor, cover: Tensor) -> Tensor:
    """Each image with its patch over (top, left), mixed by `cover` (p, p): 1 is the patch alone, 0 the image alone."""
    size = patches.shape[-1]
    mixed = cover * patches + (1 - cover) * taken(images, top, left, size)
    result = images.clone()
    result[_where(top, left, size)] = mixed.permute(0, 2, 3, 1)
    return result


def feathered(size: int, seam: int) -> Tensor:
    """(size, size) a cover that rises from the border to 1 in `seam` steps: no edge shows where a patch ends."""
    step = torch.arange(size)
    ramp = ((torch.minimum(step, size - 1 - step) + 1) / (seam + 1)).clamp(max=1)
    return ramp[:, None] * ramp


def _where(top: Tensor, left: Tensor, size: int) -> tuple[Tensor, slice, Tensor, Tensor]:
    image = torch.arange(len(top), device=top.device)[:, None, None]
    along = torch.arange(size, device=top.device)
    return image, slice(None), (top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None]
