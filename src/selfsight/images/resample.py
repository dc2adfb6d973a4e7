"""Crop, resize, flip and blur as products with two small matrices per image.

A separable linear resampling of an image X is R X Kᵀ, with one matrix for rows and one for columns. Building the
matrices costs little, and the two products are batched matrix multiplications that every device does fast. The weights
are those of Pillow's (and torchvision's antialiased) bilinear filter: a triangle that widens with the shrink factor.

Shapes: N images, C channels, H W source, h w result.
"""

from __future__ import annotations

import torch
from torch import Tensor


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columnsᵀ for every image and channel.

    images (N, C, H, W) float, rows (N, h, H), columns (N, w, W) -> (N, C, h, w), in the images' precision.
    """
    n, c, height, width = images.shape
    rows, columns = rows.to(images.dtype), columns.to(images.dtype)
    wide = torch.bmm(images.reshape(n, c * height, width), columns.transpose(1, 2)).reshape(n, c, height, -1)
    return torch.matmul(rows.unsqueeze(1), wide)


def resize_matrix(start: Tensor, length: Tensor, source: int, result: int) -> Tensor:
    """Weights that resize the pixels [start, start + length) of a line of `source` pixels to `result` pixels.

    start, length (N,) float or int, in pixels -> (N, result, source) float32; each row sums to 1. Pixels outside the
    interval have no weight, as if the crop had been cut out first.
    """
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    scale = length / result
    support = scale.clamp(min=1.0)
    centre = (torch.arange(result, device=start.device)[None, :, None] + 0.5) * scale
    pixel = torch.arange(source, device=start.device)[None, None, :] - start
    weight = (1 - (pixel + 0.5 - centre).abs() / support).clamp(min=0)
    weight = weight * ((pixel > -0.5) & (pixel < length - 0.5))
    return weight / weight.sum(-1, keepdim=True)


def blur_matrix(sigma: Tensor, size: int, radius: int) -> Tensor:
    """Weights of a Gaussian blur of a line of `size` pixels, cut off at `radius`, borders reflected.

    sigma (N,) in pixels, > 0; radius < size -> (N, size, size) float32; each row sums to 1.
    """
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offset / sigma.float()[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    return (kernel @ _reflected_shifts(size, offset)).unflatten(1, (size, size))


def _reflected_shifts(size: int, offset: Tensor) -> Tensor:
    """(len(offset), size * size): for each offset the 0/1 matrix that reads that many pixels further on, reflected."""
    at = (torch.arange(size, device=offset.device) + offset[:, None]).abs()  # the first pixel is not repeated
    at = torch.minimum(at, 2 * (size - 1) - at)  # nor the last
    return torch.nn.functional.one_hot(at, size).float().flatten(1)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turns each image about its centre, counter-clockwise, bilinear; corners are filled by reflection.

    images (N, C, H, W) float, degrees (N,) -> the same shape.
    """
    angle = degrees.float() * (torch.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    ratio = images.shape[-2] / images.shape[-1]
    turn = torch.stack([torch.stack([cos, -sin * ratio, zero], -1), torch.stack([sin / ratio, cos, zero], -1)], 1)
    grid = torch.nn.functional.affine_grid(turn, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(
        images, grid.to(images.dtype), padding_mode="reflection", align_corners=False
    )
