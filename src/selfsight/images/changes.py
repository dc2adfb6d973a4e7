"""What was drawn for a random view of each picture, and the doing of it, the same on every device.

`selfsight.compiled` does the same on a processor, faster.

Shapes: N pictures, C channels, H W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from selfsight.images import colour
from selfsight.images.resample import blur_matrix, resize_matrix, rotate, separable

COLOURS = (colour.brighten, colour.contrast, colour.saturate, colour.shift_hue)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """One view of each of N pictures. All tensors are on the CPU."""

    crop: Tensor
    """(N, 4) int64: top, left, height, width in pixels; what is cut out is brought to the picture's size again."""
    flip: Tensor
    """(N,) bool: left for right."""
    degrees: Tensor | None
    """(N,) of a rotation, counter-clockwise; None: none is turned."""
    order: Tensor
    """(N, 4) int64: which of COLOURS comes at each of four turns, -1 for none."""
    strength: Tensor
    """(N, 4) float, by COLOURS."""
    gray: Tensor
    """(N,) bool."""
    sigma: Tensor
    """(N,) float: of a Gaussian blur, in pixels; 0 for none."""
    radius: int
    """Pixels where the blur is cut off."""
    solarise: Tensor
    """(N,) bool."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 -> (N, C, H, W) float32 in [0, 1]."""
        views = self._cropped(images)
        if self.degrees is not None:
            views = rotate(views, self.degrees.to(images.device)).clamp(0, 1)
        for turn in range(4):
            for number, change in enumerate(COLOURS):
                _some(views, self.order[:, turn] == number, change, self.strength[:, number])
        _some(views, self.gray, lambda some: colour.gray(some).expand_as(some))
        _some(views, self.sigma > 0, self._blurred, self.sigma)
        _some(views, self.solarise, colour.solarise)
        return views.clamp_(0, 1)  # a shift of hue ends a rounding error above 1

    def _cropped(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        top, left, tall, wide = self.crop.to(images.device).unbind(1)
        rows, columns = resize_matrix(top, tall, height, height), resize_matrix(left, wide, width, width)
        columns = torch.where(self.flip.to(images.device)[:, None, None], columns.flip(1), columns)
        return separable(images.float() / 255, rows, columns).clamp(0, 1)

    def _blurred(self, some: Tensor, sigma: Tensor) -> Tensor:
        height, width = some.shape[-2:]
        return separable(some, blur_matrix(sigma, height, self.radius), blur_matrix(sigma, width, self.radius))


def _some(views: Tensor, chosen: Tensor, change: Callable[..., Tensor], strength: Tensor | None = None) -> None:
    """Changes the chosen (N,) bool of the views in place, each by its own strength where there is one."""
    which = chosen.nonzero()[:, 0]
    if len(which):
        place = which.to(views.device)
        own = () if strength is None else (strength[which].to(views.device),)
        views[place] = change(views[place], *own)
