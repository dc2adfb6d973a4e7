"""Features nobody had to learn: the bar a learned encoder must pass to be worth its training.

Raw pixels, made small. And hand-made features: histograms of oriented gradients (Dalal, Triggs, CVPR 2005; shape
without colour) beside a colour histogram (Swain, Ballard, IJCV 1991; colour without shape). Both work on the image made
small, so their size does not depend on the store's.

Shapes: N images, C channels (1 or 3), H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from selfsight.images.picked import Images

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

BLOCK = 512
"""Images in memory as floats at once."""


def shrink(images: Images, side: int) -> np.ndarray:
    """Images whose longer side is at most `side` pixels, by antialiased bilinear resampling; small ones are left alone.

    images (N, H, W, C) uint8 -> (N, h, w, C) float32 in [0, 1].
    """
    height, width = images.shape[1:3]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    result = np.empty((len(images), *size, images.shape[3]), dtype=np.float32)
    for start in range(0, len(images), BLOCK):
        part = torch.from_numpy(np.array(images[start : start + BLOCK])).permute(0, 3, 1, 2).float() / 255
        if size != (height, width):
            part = torch.nn.functional.interpolate(part, size, mode="bilinear", antialias=True)
        result[start : start + BLOCK] = part.permute(0, 2, 3, 1).numpy()
    return result


def pixel_features(images: Images, side: int = 32) -> np.ndarray:
    """Raw pixels, made small: images (N, H, W, C) uint8 -> (N, h*w*C) float32 in [0, 1], longer side <= `side`."""
    return shrink(images, side).reshape(len(images), -1)


def gradient_features(images: Images, progress: Progress | None = None) -> np.ndarray:
    """Histograms of oriented gradients of images made at most 32 pixels wide and high, of unit length.

    images (N, H, W, C) uint8, at least 4 x 4 -> (N, D) float32: 9 orientations in 8 x 8 cells (fewer on small images),
    blocks of 2 x 2 cells normalised by "L2-Hys". Each pixel takes the channel with the strongest gradient.
    """
    from skimage.feature import hog

    height, width, channels = shrink(images[:1], 32).shape[1:]
    cell = (max(2, -(-height // 8)), max(2, -(-width // 8)))
    block = (min(2, height // cell[0]), min(2, width // cell[1]))
    blocks: list[np.ndarray] = []
    for start in range(0, len(images), BLOCK):
        rows = []
        for image in shrink(images[start : start + BLOCK], 32):
            picture, axis = (image[..., 0], None) if channels == 1 else (image, -1)
            rows.append(hog(picture, 9, cell, block, block_norm="L2-Hys", channel_axis=axis, feature_vector=True))
        blocks.append(_unit(np.asarray(rows, dtype=np.float32)))
        if progress is not None:
            progress(start + len(rows), len(images))
    return np.concatenate(blocks)


def colour_features(images: Images) -> np.ndarray:
    """Square roots of the colour histogram, of unit length: images (N, H, W, C) uint8 -> (N, 64) float32.

    4 x 4 x 4 boxes of RGB, or 64 levels of gray. The root makes the cosine the Bhattacharyya coefficient.
    """
    result = np.empty((len(images), 64), dtype=np.float32)
    for start in range(0, len(images), BLOCK):
        part = np.asarray(images[start : start + BLOCK])
        if part.shape[3] == 1:
            box = (part[..., 0] >> 2).astype(np.int64)
        else:
            level = (part >> 6).astype(np.int64)
            box = level[..., 0] * 16 + level[..., 1] * 4 + level[..., 2]
        box = box.reshape(len(part), -1) + 64 * np.arange(len(part))[:, None]
        counts = np.bincount(box.ravel(), minlength=64 * len(part)).reshape(len(part), 64)
        result[start : start + BLOCK] = np.sqrt(counts)
    return _unit(result)


def handmade_features(images: Images, progress: Progress | None = None) -> np.ndarray:
    """Gradients and colour side by side, each of unit length: (N, H, W, C) uint8 -> (N, D + 64) float32."""
    return np.concatenate([gradient_features(images, progress), colour_features(images)], axis=1)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
