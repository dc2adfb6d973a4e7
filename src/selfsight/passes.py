"""The passes over memory that batch and layer normalisation and their neighbours need in bf16, compiled for this
processor.

torch normalises, adds and cuts off one after the other; where a processor multiplies matrices as fast as it reads
memory, these take half of a step. Here each pass does all that the data it reads allow, on torch's own threads
(`selfsight.openmp`). Compiled by numba, kept as `selfsight.compiled` is: but for `pointers.py` all in one file, as
what is kept is taken for stale when its own file has changed, and no other. What is not a number stays none.

A job is a row of int64: how many parts were taken, which pass, parts, rows R, columns C, then addresses. All maps
have R rows and C columns, of uint16 that are the upper halves of float32; what a transformer adds up from layer to
layer is float32 itself. Sums are of each part apart, so that they do not depend on how many threads there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

from selfsight.pointers import doubles, floats, taken, words

F = np.float32
ZERO, HALF_OF, ONE = F(0), F(0.5), F(1)
LOG2E, LN2, LEAST_POWER, HEIGHT = F(-0.72134752), F(0.69314718), F(-126), F(0.39894228)
"""Minus a half of log2(e), ln(2), the least power of two, and the height of a normal distribution."""
SIXTEEN, HALF = np.uint32(16), np.uint32(0x8000)
NONE, NOT_A_NUMBER = np.uint16(0), np.uint16(0x7FC0)
RUN = 128
"""Rows that are summed in float32 before they join a sum in float64."""
COUNTER, WHAT, PARTS, ROWS, COLUMNS, FIRST = range(6)
MOST = 8
"""Addresses of a job."""
SUM, SCALE, JOIN, SUM_BACK, MASK_AND_SUM_BACK, SCALE_BACK, LAYER, LAYER_BACK, GELU, GELU_BACK = range(10)
KIND = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
"""Not the whole of fast mathematics: that may take it for granted that every number is one."""
_quick = njit(**KIND)


def job(what: int, parts: int, rows: int, columns: int, *addresses: int) -> np.ndarray:
    """A pass that is to be made, for `work`; addresses in the order of `_one_part`."""
    return np.array([0, what, parts, rows, columns, *addresses, *[0] * (MOST - len(addresses))], np.int64)


@intrinsic
def _float(context: Any, bits: Any) -> Any:
    return types.float32(types.uint32), lambda _, builder, __, given: builder.bitcast(given[0], ir.FloatType())


@intrinsic
def _bits(context: Any, number: Any) -> Any:
    return types.uint32(types.float32), lambda _, builder, __, given: builder.bitcast(given[0], ir.IntType(32))


@_quick
def _widened(half):
    return _float(np.uint32(half) << SIXTEEN)


@_quick
def _rounded(number):
    """To the nearest bf16; what is half-way goes away from nought."""
    return NOT_A_NUMBER if number != number else np.uint16((_bits(number) + HALF) >> SIXTEEN)


@_quick
def summed(x, first, last, start, out):
    """Adds to out (2, C) the sums of x - start and of its squares, rows first to last - 1. start (C,)."""
    columns, since = np.uintp(x.shape[1]), 0
    sums = np.zeros(3 * columns, np.float32)  # two sums and the start in one array: fewer to be told apart by addresses
    for c in range(columns):
        sums[2 * columns + c] = start[c]
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c]) - sums[2 * columns + c]
            sums[c] += value
            sums[columns + c] += value * value
        since += 1
        if since == RUN or r == last - 1:
            since = _moved(sums, out)


@_quick
def _moved(sums, out):
    columns = np.uintp(out.shape[1])
    for c in range(columns):
        out[0, c] += sums[c]
        out[1, c] += sums[columns + c]
        sums[c] = sums[columns + c] = ZERO
    return 0


@_quick
def scaled(x, first, last, factor, shift, least, y):
    """y = x factor + shift, not below least. factor, shift (C,)."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c]) * factor[c] + shift[c]
            y[r, c] = _rounded(least if value < least else value)


@_quick
def scaled_and_joined(x, skip, first, last, factor, shift, least, y):
    """y = x factor + shift + skip, not below least."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c]) * factor[c] + shift[c] + _widened(skip[r, c])
            y[r, c] = _rounded(least if value < least else value)


@_quick
def summed_back(dy, x, first, last, told, out):
    """Adds to out (2, C) the sums of dy and of dy (x - mean), both where x factor + shift is above 0.

    told (3, C): mean, factor, shift.
    """
    columns, since = np.uintp(x.shape[1]), 0
    sums = np.zeros(5 * columns, np.float32)
    sums[2 * columns :] = told.ravel()
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c])
            passes = value * sums[3 * columns + c] + sums[4 * columns + c] > ZERO
            passed = _widened(dy[r, c]) if passes else ZERO
            sums[c] += passed
            sums[columns + c] += passed * (value - sums[2 * columns + c])
        since += 1
        if since == RUN or r == last - 1:
            since = _moved(sums, out)


@_quick
def masked_and_summed_back(dy, also, share, y, x, first, last, mean, passed_on, out):
    """passed_on = dy + share also, where y is not 0; adds its sum to out (2, C), and that of its product with
    x - mean."""
    columns, since = np.uintp(x.shape[1]), 0
    sums = np.zeros(3 * columns, np.float32)
    for c in range(columns):
        sums[2 * columns + c] = mean[c]
    for r in range(first, last):
        for c in range(columns):  # apart from the sums: of more arrays LLVM does not ask whether they overlap
            both = _widened(dy[r, c]) + share * _widened(also[r, c])
            passed_on[r, c] = _rounded(both) if y[r, c] != NONE else NONE
        for c in range(columns):
            passed = _widened(passed_on[r, c])
            sums[c] += passed
            sums[columns + c] += passed * (_widened(x[r, c]) - sums[2 * columns + c])
        since += 1
        if since == RUN or r == last - 1:
            since = _moved(sums, out)


@_quick
def scaled_back(dy, x, first, last, told, dx):
    """dx = a dy + b x + c, with 0 for dy where x factor + shift is not above 0. told (5, C): a, b, c, factor, shift."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c])
            passed = _widened(dy[r, c]) if value * told[3, c] + told[4, c] > ZERO else ZERO
            dx[r, c] = _rounded(told[0, c] * passed + told[1, c] * value + told[2, c])


@_quick
def joined_and_normed(x, branch, first, last, weight, bias, eps, whole, y, told):
    """whole = x + branch; y = (whole - mean) / spread weight + bias, mean and spread of the row; told (R, 2) keeps
    them, the spread as its inverse."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        total = squares = ZERO
        for c in range(columns):
            value = x[r, c] + _widened(branch[r, c])
            whole[r, c] = value
            total += value
        mean = total / np.float32(columns)
        for c in range(columns):  # again, as the difference of large squares would drown a small variance
            away = whole[r, c] - mean
            squares += away * away
        per = ONE / np.sqrt(squares / np.float32(columns) + eps)
        told[r, 0], told[r, 1] = mean, per
        for c in range(columns):
            y[r, c] = _rounded((whole[r, c] - mean) * per * weight[c] + bias[c])


@_quick
def normed_back(dy, also, whole, first, last, weight, told, dx, branch, out):
    """dx = also + what dy is of `whole`, once in float32 and once in bf16; adds to out (2, C) the sums of dy times
    the normalised, and of dy."""
    columns, since = np.uintp(whole.shape[1]), 0
    sums = np.zeros(3 * columns, np.float32)
    for c in range(columns):
        sums[2 * columns + c] = weight[c]
    for r in range(first, last):
        mean, per = told[r, 0], told[r, 1]
        total = product = ZERO
        for c in range(columns):
            down, away = _widened(dy[r, c]), (whole[r, c] - mean) * per
            total += down * sums[2 * columns + c]
            product += down * sums[2 * columns + c] * away
            sums[c] += down * away
            sums[columns + c] += down
        total, product = total / np.float32(columns), product / np.float32(columns)
        for c in range(columns):
            down, away = _widened(dy[r, c]), (whole[r, c] - mean) * per
            dx[r, c] = also[r, c] + per * (down * sums[2 * columns + c] - total - away * product)
            branch[r, c] = _rounded(dx[r, c])
        since += 1
        if since == RUN or r == last - 1:
            since = _moved(sums, out)


@_quick
def _bell(x):
    """exp(-x x / 2), within a few millionths of it: 2 to a whole power, times a series for the rest."""
    power = LOG2E * x * x
    power = power if power > LEAST_POWER else LEAST_POWER  # of what is no number too
    whole = np.int32(power - F(0.5))
    rest = (power - F(whole)) * LN2
    series = ONE + rest * (ONE + rest * (F(1 / 2) + rest * (F(1 / 6) + rest * (F(1 / 24) + rest * F(1 / 120)))))
    bell = series * _float(np.uint32(whole + np.int32(127)) << np.uint32(23))
    return bell if power > LEAST_POWER else ZERO


@_quick
def _below(x, bell):
    """How much of a normal distribution lies below x; Abramowitz and Stegun 1964, 7.1.26, within .0000002."""
    far = x if x > ZERO else -x
    t = ONE / (ONE + F(0.3275911 / 2**0.5) * far)
    tail = t * (
        F(0.254829592) + t * (F(-0.284496736) + t * (F(1.421413741) + t * (F(-1.453152027) + t * F(1.061405429))))
    )
    tail *= HALF_OF * bell
    return ONE - tail if x > ZERO else tail


@_quick
def gelued(x, first, last, y):
    """y = x times the share of a normal distribution below x."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c])
            y[r, c] = _rounded(value * _below(value, _bell(value)))


@_quick
def gelued_back(dy, x, first, last, dx):
    """dx = dy times the slope of that at x."""
    columns = np.uintp(x.shape[1])
    for r in range(first, last):
        for c in range(columns):
            value = _widened(x[r, c])
            bell = _bell(value)
            dx[r, c] = _rounded(_widened(dy[r, c]) * (_below(value, bell) + value * bell * HEIGHT))


@_quick
def _map(job, which):
    return carray(words(job[FIRST + which]), (job[ROWS], job[COLUMNS]))


@_quick
def _exact(job, which):
    """A map in float32."""
    return carray(floats(job[FIRST + which]), (job[ROWS], job[COLUMNS]))


@_quick
def _pairs(job, which):
    """Two numbers of each row."""
    return carray(floats(job[FIRST + which]), (job[ROWS], 2))


@_quick
def _row(job, which):
    return carray(floats(job[FIRST + which]), (job[COLUMNS],))


@_quick
def _rows(job, which, count):
    return carray(floats(job[FIRST + which]), (count, job[COLUMNS]))


@_quick
def _sums(job, which, part):
    """The (2, C) of this part."""
    whole = carray(doubles(job[FIRST + which]), (job[PARTS], 2, job[COLUMNS]))
    return whole[part]


@_quick
def _one_part_of_layer(job, part, first, last):
    if job[WHAT] == LAYER:
        given, eps = _rows(job, 2, 2), _row(job, 3)[0]
        joined_and_normed(
            _exact(job, 0),
            _map(job, 1),
            first,
            last,
            given[0],
            given[1],
            eps,
            _exact(job, 4),
            _map(job, 5),
            _pairs(job, 6),
        )
    else:
        normed_back(
            _map(job, 0), _exact(job, 1), _exact(job, 2), first, last, _row(job, 3), _pairs(job, 4), _exact(job, 5),
            _map(job, 6), _sums(job, 7, part),
        )  # fmt: skip


@_quick
def _one_part(job, part):
    first, last = job[ROWS] * part // job[PARTS], job[ROWS] * (part + 1) // job[PARTS]
    what, x = job[WHAT], _map(job, 0)
    if what in (LAYER, LAYER_BACK):
        _one_part_of_layer(job, part, first, last)
    elif what == GELU:
        gelued(x, first, last, _map(job, 1))
    elif what == GELU_BACK:
        gelued_back(x, _map(job, 1), first, last, _map(job, 2))
    elif what == SUM:
        summed(x, first, last, _row(job, 1), _sums(job, 2, part))
    elif what == SCALE:
        scaled(x, first, last, _row(job, 1), _row(job, 2), _row(job, 3)[0], _map(job, 4))
    elif what == JOIN:
        scaled_and_joined(x, _map(job, 5), first, last, _row(job, 1), _row(job, 2), _row(job, 3)[0], _map(job, 4))
    elif what == SUM_BACK:
        summed_back(x, _map(job, 1), first, last, _rows(job, 2, 3), _sums(job, 3, part))
    elif what == MASK_AND_SUM_BACK:
        share, out = _row(job, 5)[0], _sums(job, 7, part)
        masked_and_summed_back(
            x, _map(job, 1), share, _map(job, 2), _map(job, 3), first, last, _row(job, 4), _map(job, 6), out
        )
    else:
        scaled_back(x, _map(job, 1), first, last, _rows(job, 2, 5), _map(job, 3))


@cfunc(types.void(types.CPointer(types.int64)), **KIND)
def work(address):
    """Of the job at `address`, one part after another until none is left; for any number of threads at once."""
    job = carray(address, (FIRST + MOST,))
    part = taken(address)
    while part < job[PARTS]:
        _one_part(job, part)
        part = taken(address)
