"""Mirror, flip, turn, shear, zoom and bend as one resampling, whatever of them is asked.

Each is a matrix, or a field of shifts, of the points at which an image is read; they are joined before anything is
read. A picture that is only looked at through a window is then resampled exactly as often, and as softly, as one that
is sheared.

Shapes: N images, C channels, H height, W width, h w result. Points are (x, y) in half sides, (0, 0) in the middle.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def matrices(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    """Four (N,) -> (N, 2, 2): the point (x, y) of the result is read at (xx x + xy y, yx x + yy y)."""
    return torch.stack([torch.stack([xx, xy], -1), torch.stack([yx, yy], -1)], 1)


def window(share: Tensor, degrees: Tensor) -> Tensor:
    """The middle `share` of each side, turned a little: (N,), (N,) -> (N, 2, 2)."""
    angle = degrees * (torch.pi / 180)
    cos, sin = share * angle.cos(), share * angle.sin()
    return matrices(cos, -sin, sin, cos)


def mirrored(strength: Tensor) -> Tensor:
    """Left and right change places, whatever the strength: (N,) -> (N, 2, 2)."""
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return matrices(-one, none, none, one)


def flipped(strength: Tensor) -> Tensor:
    """Top and bottom change places, whatever the strength: (N,) -> (N, 2, 2)."""
    return -mirrored(strength)


def turned(strength: Tensor) -> Tensor:
    """A quarter turn, counter-clockwise where the strength is at least zero: (N,) -> (N, 2, 2)."""
    way, none = torch.where(strength < 0, -1.0, 1.0), torch.zeros_like(strength)
    return matrices(none, -way, way, none)


def sheared(strength: Tensor) -> Tensor:
    """Rows shifted by up to a sixth to a third of the half side, the way the strength's sign says: (N,) in [-1, 1]."""
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    way = torch.where(strength < 0, -1.0, 1.0)
    return matrices(one, way * (1 + strength.abs()) / 6, none, one)


def zoomed(strength: Tensor) -> Tensor:
    """Twice as near, or up to a quarter nearer still: (N,) in [-1, 1] -> (N, 2, 2)."""
    near, none = 0.5 - 0.1 * strength.abs(), torch.zeros_like(strength)
    return matrices(near, none, none, near)


def warp(images: Tensor, points: Tensor, shifts: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Reads each image at its own points, bilinear; what lies outside is reflected.

    images (N, C, H, W) float, points (N, 2, 2), shifts (N, h, w, 2) in half sides -> (N, C, h, w); size is (h, w), that
    of the images where not given.
    """
    n, c = images.shape[:2]
    height, width = size or (images.shape[-2], images.shape[-1])
    affine = torch.cat([points, torch.zeros_like(points[:, :, :1])], -1).to(images.device, images.dtype)
    grid = F.affine_grid(affine, [n, c, height, width], align_corners=False)
    if shifts is not None:
        grid = grid + shifts.to(grid)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
