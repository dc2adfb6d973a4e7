"""Colour changes, one strength per image. Each gives what torchvision's function of the same name gives image by image.

Images are (N, C, H, W) float in [0, 1] with C = 3 or 1; strengths are (N,). Results are clamped to [0, 1] after each
change, as torchvision does: the order of the changes therefore matters.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in gray (ITU-R 601-2, as rounded by torchvision)."""


def gray(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, H, W): the luma."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def _blend(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    factor = factor[:, None, None, None]
    return (images * factor + other * (1 - factor)).clamp(0, 1)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """0 is black, 1 changes nothing."""
    return (images * factor[:, None, None, None]).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """0 is the image's mean gray, 1 changes nothing."""
    return _blend(images, gray(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """0 is gray, 1 changes nothing."""
    return images if images.shape[1] == 1 else _blend(images, gray(images), factor)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the hue of the HSV cone by `shift` of a full turn, in [-0.5, 0.5]."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    # The hue as a number in [0, 6), by which channel is the largest.
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * shift[:, None, None]
    hue = hue - 6 * torch.floor(hue / 6)
    # How full each channel is along the hexagon: 1 around its own corner, 0 on the far side.
    full = ((hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs())
    return torch.stack([low + chroma * share.clamp_(0, 1) for share in full], 1)


def solarise(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Inverts every pixel at or above `threshold`."""
    return torch.where(images >= threshold, 1 - images, images)
