"""Square patches taken out of images and pasted into them, each at a place of its own, in whole pixels.

Shapes: N images, C channels, H W side, p side of a patch; corner (2, N) int64, the first row and column.
"""

from __future__ import annotations

import torch
from torch import Tensor


def taken(images: Tensor, corner: Tensor, size: int) -> Tensor:
    """The patch of each image that begins at its corner: (N, C, H, W) -> (N, C, size, size)."""
    return images[_where(corner, size)].permute(0, 3, 1, 2)


def pasted(images: Tensor, patches: Tensor, corner: Tensor, cover: Tensor) -> Tensor:
    """Each image with its patch over it from the corner on, mixed by `cover` (p, p): 1 the patch alone, 0 the image."""
    size = patches.shape[-1]
    mixed = cover * patches + (1 - cover) * taken(images, corner, size)
    result = images.clone()
    result[_where(corner, size)] = mixed.permute(0, 2, 3, 1)
    return result


def feathered(size: int, seam: int) -> Tensor:
    """(size, size) a cover that rises from the border to 1 in `seam` steps: no edge shows where a patch ends."""
    step = torch.arange(size)
    ramp = ((torch.minimum(step, size - 1 - step) + 1) / (seam + 1)).clamp(max=1)
    return ramp[:, None] * ramp


def _where(corner: Tensor, size: int) -> tuple[Tensor, slice, Tensor, Tensor]:
    image = torch.arange(corner.shape[1], device=corner.device)[:, None, None]
    rows, columns = corner[..., None] + torch.arange(size, device=corner.device)
    return image, slice(None), rows[:, :, None], columns[:, None]
