"""CIE 1976 L*a*b* of sRGB pictures, and back: lightness apart from colour, in steps the eye sees as equal.

IEC 61966-2-1 (sRGB) and CIE 15 with the white of D65 as a two-degree observer sees it. Differentiable everywhere: each
root is taken only where it has a finite slope.

Shapes: (N, 3, H, W); sRGB in [0, 1]; L in [0, 100], a and b about -110 to 110.
"""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear red, green, blue to X, Y, Z."""
WHITE = (0.95047, 1.0, 1.08883)
"""X, Y, Z of D65."""
LINEAR_BELOW = 216 / 24389
"""(6 / 29)^3: below it the cube root gives way to its tangent."""
SLOPE = 24389 / 27 / 116
"""Of that tangent."""


def to_lab(images: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in [0, 1] -> L, a, b."""
    _three(images)
    xyz = torch.einsum("dc,nchw->ndhw", _matrix(images), _linear(images)) / _white(images)
    root = torch.where(xyz > LINEAR_BELOW, xyz.clamp(min=LINEAR_BELOW) ** (1 / 3), SLOPE * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def to_srgb(lab: Tensor, clamp: bool = True) -> Tensor:
    """L, a, b (N, 3, H, W) -> sRGB, colours that a screen cannot show clamped to [0, 1], where the slope is 0.

    Without `clamp` they lie outside, each channel going on with its own slope.
    """
    _three(lab)
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    root = torch.stack([y + a / 500, y, y - b / 200], 1)
    edge = LINEAR_BELOW ** (1 / 3)
    xyz = torch.where(root > edge, root**3, (root - 16 / 116) / SLOPE) * _white(lab)
    linear = torch.einsum("dc,nchw->ndhw", torch.linalg.inv(_matrix(lab)), xyz)
    srgb = _curved(linear)
    return srgb.clamp(0, 1) if clamp else srgb


def lightness(images: Tensor) -> Tensor:
    """The gray of the same L: (N, 3, H, W) sRGB in [0, 1] -> (N, 1, H, W); what a = b = 0 gives, without the detour."""
    _three(images)
    light = torch.matmul(_matrix(images)[1], _linear(images).flatten(2)).view_as(images[:, 0])
    return _curved(light.unsqueeze(1)).clamp(0, 1)


def _linear(images: Tensor) -> Tensor:
    """From sRGB's curve to amounts of light: a power above 0.04045, and from there down a straight line to zero."""
    power = images.clamp(min=0.04045).add_(0.055).div_(1.055).pow_(2.4)
    return power.add_(images.clamp(max=0.04045).sub_(0.04045), alpha=1 / 12.92)


def _curved(linear: Tensor) -> Tensor:
    """And back."""
    power = linear.clamp(min=0.0031308).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    return power.add_(linear.clamp(max=0.0031308).sub_(0.0031308), alpha=12.92)


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(TO_XYZ, device=like.device, dtype=like.dtype)


def _white(like: Tensor) -> Tensor:
    return torch.tensor(WHITE, device=like.device, dtype=like.dtype)[:, None, None]


def _three(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"Lab has three channels, (N, 3, H, W), not {tuple(images.shape)}: give colour images")
