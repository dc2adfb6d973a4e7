"""A whole random view in one pass over a picture that stays in the processor's cache, compiled for this processor.

The same crop, flip, colour changes and blur as `selfsight.images.changes`, which is what it is tested against, picture
by picture instead of change by change: the batch is read once and written once. Compiled by numba, in some seconds at
the first use on a machine, and kept. Without numba (`pip install 'selfsight[fast]'`) the other is used.

Shapes: N pictures, C channels (1 or 3), H W. Numbers are float32 throughout: a plain 0.5 would be float64 here.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numba import carray, cfunc, njit, types

from selfsight import openmp
from selfsight.pointers import floats, integers, octets, taken

F = np.float32
ZERO, HALF, ONE, TWO, THREE, FOUR, SIX = F(0), F(0.5), F(1), F(2), F(3), F(4), F(6)
RED, GREEN, BLUE = F(0.2989), F(0.587), F(0.114)
SHARE = np.arange(256, dtype=np.float32) / F(255)
"""Of full brightness, by pixel value: a table divides as torch does, to the last bit."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
"""Numbers of the colour changes, in the order of `Changes.strength`."""

NEGLIGIBLE = F(1e-8)
"""Of a weight, beside the middle's."""
SOME = 8
"""Pictures that a thread takes at a time."""
ANY = 2**40
"""No index is held against it."""
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
) -> np.ndarray:
    """images (N, C, H, W) uint8, in any layout -> (N, C, H, W) float32 in [0, 1]; by as many threads as torch has.

    crops (N, 4) int64: top, left, height, width. flip, gray, solarise (N,) bool. order (N, 4) int64: which colour
    change comes at each turn, -1 for none; strength (N, 4) float32 by change. sigma (N,) float32 of the blur in pixels,
    0 for none, cut off at `radius`.
    """
    out = np.empty(images.shape, np.float32)
    given = [np.ascontiguousarray(each) for each in (crops, flip, order, strength, gray, sigma, solarise)]
    addresses = [each.ctypes.data for each in (images, *given, out)]
    openmp.run(work, np.array([0, *images.shape, *images.strides, radius, *addresses], np.int64))
    return out


@_quick
def _cropped(pixels, start, strides, crop, flip, line, rows, out):
    """Bilinear, as of a crop that was cut out first: crops are never larger than the result, so two pixels a side.
    First along its rows, of which there are never more than the result has, then from row to row, side by side."""
    channels, height, width = out.shape
    down, across = np.uintp(strides[2]), np.uintp(strides[3])
    top, left, tall, wide = np.uintp(crop[0]), np.uintp(crop[1]), crop[2], np.uintp(crop[3])
    first, second, share = np.empty(width, np.uint32), np.empty(width, np.uint32), np.empty(width, np.float32)
    for x in range(width):
        at = width - 1 - x if flip else x
        first[at], second[at], share[at] = _between(x, width, crop[3])
    for c in range(channels):
        corner = np.uintp(start + c * strides[1]) + top * down + left * across
        for y in range(np.uintp(tall)):
            for x in range(wide):
                line[x] = SHARE[pixels[corner + y * down + x * across]]
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
        hue += SIX * shift  # from -4 to 8, as shifts are a half at most
        hue = hue + SIX if hue < ZERO else (hue - SIX if hue >= SIX else hue)
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
    """Weights of the middle and of the places 1, 2, ... away on either side -> how far away there is one worth adding.

    What is less would change no pixel, and the least numbers there are take a processor fifty times as long.
    """
    total, reach = ONE, 0
    taps[0] = ONE
    for k in range(1, radius + 1):
        far = k / sigma
        taps[k] = F(exp(-0.5 * far * far))
        if taps[k] < NEGLIGIBLE:
            break
        total, reach = total + TWO * taps[k], k
    for k in range(reach + 1):
        taps[k] /= total
    return reach


@_quick
def _blurred(plane, taps, reach, narrow, wide):
    """Along rows, then along columns; borders reflected, without the border pixel itself. Rows lie end to end with
    their borders, so that each step is one long loop. Unsigned, lest each index be asked whether it counts from the
    end."""
    height, width = np.uintp(plane.shape[0]), np.uintp(plane.shape[1])
    half, one = np.uintp(reach), np.uintp(1)
    whole = width + half + half
    for y in range(height):
        start = y * whole + half
        for x in range(width):
            narrow[start + x] = plane[y, x]
        for k in range(one, half + one):
            narrow[start - k] = plane[y, k]
            narrow[start + width - one + k] = plane[y, width - one - k]
    _summed(narrow, taps, half, one, wide[half * whole :], height * whole - half - half)
    for k in range(one, half + one):
        for x in range(whole):
            wide[(half - k) * whole + x] = wide[(half + k) * whole + x]
            wide[(half + height - one + k) * whole + x] = wide[(half + height - one - k) * whole + x]
    _summed(wide, taps, half, whole, narrow, height * whole)
    for y in range(height):
        for x in range(width):
            plane[y, x] = narrow[y * whole + x]


@_quick
def _summed(source, taps, half, apart, out, count):
    """out[i] = taps[0] source[i + half apart], and taps[k] times what lies k apart on either side of it."""
    middle, near, centre = taps[0], taps[1], half * apart
    for i in range(count):
        at = i + centre
        out[i] = middle * source[at] + near * (source[at - apart] + source[at + apart])
    for k in range(2, half + np.uintp(1)):
        weight, far = taps[k], np.uintp(k) * apart
        for i in range(count):
            at = i + centre
            out[i] += weight * (source[at - far] + source[at + far])


@_quick
def _solarised(planes):
    channels, pixels = planes.shape
    for c in range(channels):
        for i in range(pixels):
            planes[c, i] = ONE - planes[c, i] if planes[c, i] >= HALF else planes[c, i]


@_quick
def _some(job, first, last):
    """Views of these pictures."""
    n, channels, height, width = job[1], job[2], job[3], job[4]
    strides, radius = job[5:9], job[9]
    pixels = carray(octets(job[10]), (ANY,))
    crops, order = carray(integers(job[11]), (n, 4)), carray(integers(job[13]), (n, 4))
    strength, sigma = carray(floats(job[14]), (n, 4)), carray(floats(job[16]), (n,))
    flip, gray, solarise = (
        carray(octets(job[12]), (n,)),
        carray(octets(job[15]), (n,)),
        carray(octets(job[17]), (n,)),
    )
    out = carray(floats(job[18]), (n, channels, height, width))
    taps = np.empty(radius + 1, np.float32)
    line, rows = np.empty(width, np.float32), np.empty((height, width), np.float32)
    room = (height + 2 * radius) * (width + 2 * radius)
    narrow, wide = np.zeros(room, np.float32), np.zeros(room, np.float32)
    for i in range(first, last):
        view = out[i]
        _cropped(pixels, i * strides[0], strides, crops[i], flip[i], line, rows, view)
        planes = view.reshape(channels, height * width)
        for turn in range(4):
            _recoloured(planes, order[i, turn], strength[i])
        if gray[i] and channels == 3:
            _grayed(planes)
        if sigma[i] > ZERO:
            reach = _bell(sigma[i], radius, taps)
            for c in range(channels if reach else 0):
                _blurred(view[c], taps, reach, narrow, wide)
        if solarise[i]:
            _solarised(planes)


@cfunc(types.void(types.CPointer(types.int64)), **KIND)
def work(address):
    """Of the job at `address`, some pictures after others until none is left; for any number of threads at once."""
    job = carray(address, (19,))
    part = taken(address) * SOME
    while part < job[1]:
        _some(job, part, min(part + SOME, job[1]))
        part = taken(address) * SOME
