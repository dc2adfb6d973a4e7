"""A whole random view in one pass over a picture that stays in the processor's cache, compiled for this processor.

The same crop, flip, colour changes and blur as `selfsight.images.changes`, which is what it is tested against, picture
by picture instead of change by change: the batch is read once and written once. Compiled by numba, in some seconds at
the first use on a machine, and kept. Without numba (`pip install 'selfsight[fast]'`) the other is used.

Shapes: N pictures, C channels (1 or 3), H W. Numbers are float32 throughout: a plain 0.5 would be float64 here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import exp, floor

import numpy as np
from numba import njit

F = np.float32
ZERO, HALF, ONE, TWO, THREE, FOUR, SIX = F(0), F(0.5), F(1), F(2), F(3), F(4), F(6)
RED, GREEN, BLUE = F(0.2989), F(0.587), F(0.114)
SHARE = np.arange(256, dtype=np.float32) / F(255)
"""Of full brightness, by pixel value: a table divides as torch does, to the last bit."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
"""Numbers of the colour changes, in the order of `Changes.strength`."""

KIND = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}
_quick = njit(**KIND)


def changed(
    images: np.ndarray,
    *,
    crops: np.ndarray,
    flip: np.ndarray,
    order: np.ndarray,
    strength: np.ndarray,
    gray: np.ndarray,
    sigma: np.ndarray,
    radius: int,
    solarise: np.ndarray,
    threads: int = 1,
) -> np.ndarray:
    """images (N, C, H, W) uint8 -> (N, C, H, W) float32 in [0, 1].

    crops (N, 4) int64: top, left, height, width. flip, gray, solarise (N,) bool. order (N, 4) int64: which colour
    change comes at each turn, -1 for none; strength (N, 4) float32 by change. sigma (N,) float32 of the blur in pixels,
    0 for none, cut off at `radius`.
    """
    out = np.empty(images.shape, np.float32)
    given = (crops, flip, order, strength, gray, sigma, solarise)
    parts = [slice(*ends) for ends in _parts(len(images), threads)]
    if len(parts) == 1:
        _all(images, *given, radius, out)
        return out
    with ThreadPoolExecutor(len(parts)) as pool:  # anew each time: threads do not survive a fork
        list(pool.map(lambda at: _all(images[at], *(one[at] for one in given), radius, out[at]), parts))
    return out


def _parts(n: int, threads: int) -> list[tuple[int, int]]:
    size = max(1, -(-n // max(1, threads)))
    return [(first, min(first + size, n)) for first in range(0, n, size)] or [(0, 0)]


@_quick
def _cropped(image, crop, flip, line, rows, out):
    """Bilinear, as of a crop that was cut out first: crops are never larger than the result, so two pixels a side.
    First along its rows, of which there are never more than the result has, then from row to row, side by side."""
    channels, height, width = out.shape
    top, left, tall, wide = np.uintp(crop[0]), np.uintp(crop[1]), crop[2], np.uintp(crop[3])
    first, second, share = np.empty(width, np.uint32), np.empty(width, np.uint32), np.empty(width, np.float32)
    for x in range(width):
        at = width - 1 - x if flip else x
        first[at], second[at], share[at] = _between(x, width, crop[3])
    for c in range(channels):
        for y in range(np.uintp(tall)):
            for x in range(wide):
                line[x] = SHARE[image[c, top + y, left + x]]
            for x in range(width):
                near, far = line[first[x]], line[second[x]]
                rows[y, x] = near + share[x] * (far - near)
        for y in range(height):
            above, below, part = _between(y, height, tall)
            upper, lower = rows[np.uintp(above)], rows[np.uintp(below)]
            for x in range(width):
                out[c, y, x] = upper[x] + part * (lower[x] - upper[x])


@_quick
def _between(i, size, length):
    """Of `length` pixels, the two that pixel i of `size` lies between, and how near it is to the second."""
    steps = (2 * i + 1) * length - size  # of 1 / (2 size) from the middle of the first: whole, so that nothing is lost
    low = steps // (2 * size)
    return max(low, 0), min(low + 1, length - 1), F((steps - low * 2 * size) / (2 * size))


@_quick
def _recoloured(planes, change, strength):
    channels, pixels = planes.shape
    if change == BRIGHTNESS:
        for c in range(channels):
            for i in range(pixels):
                planes[c, i] = min(max(planes[c, i] * strength[BRIGHTNESS], ZERO), ONE)
    elif change == CONTRAST:
        _towards_the_mean(planes, strength[CONTRAST])
    elif change == SATURATION and channels == 3:
        _towards_gray(planes[0], planes[1], planes[2], strength[SATURATION])
    elif change == HUE and channels == 3:
        _turned(planes[0], planes[1], planes[2], strength[HUE])


@_quick
def _towards_the_mean(planes, factor):
    channels, pixels = planes.shape
    total = ZERO
    if channels == 3:
        for i in range(pixels):
            total += RED * planes[0, i] + GREEN * planes[1, i] + BLUE * planes[2, i]
    else:
        for i in range(pixels):
            total += planes[0, i]
    added = (ONE - factor) * (total / F(pixels))
    for c in range(channels):
        for i in range(pixels):
            planes[c, i] = min(max(planes[c, i] * factor + added, ZERO), ONE)


@_quick
def _towards_gray(red, green, blue, factor):
    rest = ONE - factor
    for i in range(len(red)):
        added = rest * (RED * red[i] + GREEN * green[i] + BLUE * blue[i])
        red[i] = min(max(red[i] * factor + added, ZERO), ONE)
        green[i] = min(max(green[i] * factor + added, ZERO), ONE)
        blue[i] = min(max(blue[i] * factor + added, ZERO), ONE)


@_quick
def _turned(red, green, blue, shift):
    """The hue of the HSV cone, by `shift` of a full turn."""
    for i in range(len(red)):
        r, g, b = red[i], green[i], blue[i]
        value, low = max(max(r, g), b), min(min(r, g), b)
        chroma = value - low
        per = ONE / (chroma if chroma > ZERO else ONE)
        hue = (g - b) * per if value == r else (TWO + (b - r) * per if value == g else FOUR + (r - g) * per)
        hue += SIX * shift
        hue -= SIX * F(floor(hue / SIX))
        red[i] = low + chroma * min(max(abs(hue - THREE) - ONE, ZERO), ONE)
        green[i] = low + chroma * min(max(TWO - abs(hue - TWO), ZERO), ONE)
        blue[i] = low + chroma * min(max(TWO - abs(hue - FOUR), ZERO), ONE)


@_quick
def _grayed(planes):
    for i in range(planes.shape[1]):
        luma = RED * planes[0, i] + GREEN * planes[1, i] + BLUE * planes[2, i]
        planes[0, i] = planes[1, i] = planes[2, i] = luma


@_quick
def _bell(sigma, radius, taps):
    """2 radius + 1 weights, and noughts up to a multiple of four."""
    total = ZERO
    for k in range(2 * radius + 1):
        far = (k - radius) / sigma
        taps[k] = F(exp(-0.5 * far * far))
        total += taps[k]
    for k in range(len(taps)):
        taps[k] = taps[k] / total if k <= 2 * radius else ZERO


@_quick
def _blurred(plane, taps, radius, narrow, wide):
    """Along rows, then along columns; borders reflected, without the border pixel itself. Rows lie end to end with
    their borders, so that each step is one long loop."""
    height, width = plane.shape
    whole = width + 2 * radius
    for y in range(height):
        start = y * whole + radius
        for x in range(width):
            narrow[start + x] = plane[y, x]
        for k in range(1, radius + 1):
            narrow[start - k] = plane[y, k]
            narrow[start + width - 1 + k] = plane[y, width - 1 - k]
    _summed(narrow, taps, 1, wide[radius * whole :], height * whole - 2 * radius)
    for k in range(1, radius + 1):
        for x in range(whole):
            wide[(radius - k) * whole + x] = wide[(radius + k) * whole + x]
            wide[(radius + height - 1 + k) * whole + x] = wide[(radius + height - 1 - k) * whole + x]
    _summed(wide, taps, whole, narrow, height * whole)
    for y in range(height):
        for x in range(width):
            plane[y, x] = narrow[y * whole + x]


@_quick
def _summed(source, taps, apart, out, count):
    """out[i] = sum of taps[k] source[i + k apart], four weights at a time. Unsigned, lest each index be asked whether
    it counts from the end."""
    for i in range(count):
        out[i] = ZERO
    for k in range(0, len(taps), 4):
        a, b, c, d = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        one, two = np.uintp(k * apart), np.uintp((k + 1) * apart)
        three, four = np.uintp((k + 2) * apart), np.uintp((k + 3) * apart)
        for i in range(np.uintp(count)):
            out[i] += a * source[i + one] + b * source[i + two] + c * source[i + three] + d * source[i + four]


@_quick
def _solarised(planes):
    channels, pixels = planes.shape
    for c in range(channels):
        for i in range(pixels):
            planes[c, i] = ONE - planes[c, i] if planes[c, i] >= HALF else planes[c, i]


@njit(
    "void(uint8[:,:,:,:], int64[:,::1], boolean[::1], int64[:,::1], float32[:,::1], boolean[::1], float32[::1], "
    "boolean[::1], int64, float32[:,:,:,::1])",  # pictures in any layout: of one kind, so that it is compiled once
    **KIND,
)
def _all(images, crops, flip, order, strength, gray, sigma, solarise, radius, out):
    n, channels, height, width = images.shape
    taps = np.empty(-(-(2 * radius + 1) // 4) * 4, np.float32)
    line, rows = np.empty(width, np.float32), np.empty((height, width), np.float32)
    room = (height + len(taps)) * (width + 2 * radius)
    narrow, wide = np.zeros(room, np.float32), np.zeros(room, np.float32)
    for i in range(n):
        view = out[i]
        _cropped(images[i], crops[i], flip[i], line, rows, view)
        planes = view.reshape(channels, height * width)
        for turn in range(4):
            _recoloured(planes, order[i, turn], strength[i])
        if gray[i] and channels == 3:
            _grayed(planes)
        if sigma[i] > ZERO:
            _bell(sigma[i], radius, taps)
            for c in range(channels):
                _blurred(view[c], taps, radius, narrow, wide)
        if solarise[i]:
            _solarised(planes)
