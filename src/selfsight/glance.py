"""A first glance at many answers: how far is each from the truth, in two passes, compiled for this processor.

What a level of a CAM-Net decides by its code is little, and torch makes it in a dozen passes over memory. Here one pass
scales, shifts, adds noise and cuts off, torch's convolution in bf16 says what is changed, and a second pass holds that
against the truth, without any answer being written. It is rough as bf16 is; who needs the distance measures again.
Compiled by numba, kept as `selfsight.compiled` is. The passes run in the caller's thread: torch's own keep spinning
after a convolution, and with two more beside them the whole took half as long again.

Shapes: N pictures, K codes a picture, h the side a level works at, W width, G noise channels, C channels, f pixels a
side that are channels of one place, S = f h. Numbers are float32, bf16 the upper half of one, as uint16.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

KIND = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
FITS = 2**20
"""Numbers of maps that are made at a time: what stays in a processor's cache is read from there."""
ZERO, ONE = np.float32(0), np.float32(1)
SIXTEEN, HALF_BIT = np.uint32(16), np.uint32(0x8000)


@torch.no_grad()
def distances(
    seen: Tensor,
    style: tuple[Tensor, Tensor],
    noise: tuple[Tensor, Tensor],
    last: tuple[Tensor, Tensor],
    base: Tensor,
    truth: Tensor,
    weights: tuple[float, float],
) -> Tensor:
    """seen (N, h, h, W); style: factors and shifts (N, K, W); noise: (N, K, h h, G) and weights (G, W); last: the
    convolution's weight (f f C, W, 3, 3) and bias; base, truth (N, C, S, S): what changes are added to and held
    against; weights of squared differences of pixels and of neighbours' differences -> (N, K) float32.
    """
    n, k, width = style[0].shape
    h, weight, bias = seen.shape[1], last[0].bfloat16(), last[1].bfloat16()
    grain, squares = _plain(noise[1]), [base.shape[1], *(np.float32(each) for each in weights)]
    rows = [_plain(x.permute(0, 2, 3, 1).flatten(2)) for x in (base, truth)]
    each = [_plain(x) for x in (seen.flatten(1, 2), *style, noise[0])]
    far = np.empty((n, k), np.float32)
    some = max(1, FITS // (k * h * h * width))
    heard = np.empty((min(n, some), k, h * h * width), np.uint16)
    for first in range(0, n, some):
        at = slice(first, first + some)
        made = heard[: len(far[at])]
        _heard(*(x[at] for x in each), grain, made)
        maps = torch.from_numpy(made).view(torch.bfloat16).view(-1, h, h, width).permute(0, 3, 1, 2)
        with torch.autocast("cpu", enabled=False):
            said = F.conv2d(maps, weight, bias, padding=1)
        words = said.permute(0, 2, 3, 1).contiguous().view(torch.int16).numpy().view(np.uint16)
        _held_against(words.reshape(-1, k, h, h, words.shape[-1]), *(x[at] for x in rows), *squares, far[at])
    return torch.from_numpy(far)


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


@njit(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[:,:,:,::1], float32[:,::1], uint16[:,:,::1])",
    **KIND,
)
def _heard(seen, factor, shift, noise, grain, out):
    """What is seen, scaled and shifted by the code, its noise added, cut off below 0, rounded to bf16."""
    n, codes, width = factor.shape
    places, grains = seen.shape[1], grain.shape[0]
    made = np.empty(places * width, np.float32)
    bits = made.view(np.uint32)
    for i in range(n):
        for k in range(codes):
            for p in range(places):
                first = np.uintp(p * width)
                for w in range(np.uintp(width)):
                    made[first + w] = seen[i, p, w] * factor[i, k, w] + shift[i, k, w]
                for g in range(grains):
                    drawn = noise[i, k, p, g]
                    for w in range(np.uintp(width)):
                        made[first + w] += drawn * grain[g, w]
            row = out[i, k]
            for j in range(np.uintp(places * width)):
                made[j] = max(made[j], ZERO)
                row[j] = np.uint16((bits[j] + HALF_BIT) >> SIXTEEN)


@njit("void(uint16[:,:,:,:,::1], float32[:,:,::1], float32[:,:,::1], int64, float32, float32, float32[:,::1])", **KIND)
def _held_against(said, base, truth, channels, pixels, gradients, far):
    """The weighted means of squared errors, and of squared differences of neighbours' errors."""
    n, codes, h, _, words = said.shape
    side, length = base.shape[1], base.shape[2]
    fold = side // h
    run = words // fold  # numbers of one place that stand in one row of pixels
    bits, errors = np.empty(length, np.uint32), np.empty((2, length), np.float32)
    change = bits.view(np.float32)
    for i in range(n):
        for k in range(codes):
            apart, along, down = ZERO, ZERO, ZERO
            for r in range(side):
                y, first = r // fold, np.uintp(r % fold * run)
                now, before = errors[r % 2], errors[1 - r % 2]
                for x in range(np.uintp(h)):
                    for j in range(np.uintp(run)):
                        bits[x * np.uintp(run) + j] = np.uint32(said[i, k, y, x, first + j]) << SIXTEEN
                for j in range(np.uintp(length)):
                    now[j] = min(max(change[j] + base[i, r, j], ZERO), ONE) - truth[i, r, j]
                    apart += now[j] * now[j]
                if r > 0:
                    for j in range(np.uintp(length)):
                        step = now[j] - before[j]
                        down += step * step
                for j in range(np.uintp(length - channels)):
                    step = now[j + np.uintp(channels)] - now[j]
                    along += step * step
            whole, less = np.float32(side * length), np.float32(max(1, side * length - length))
            far[i, k] = pixels * apart / whole + gradients * (along + down) / less
