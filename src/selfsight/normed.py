"""Batch normalisation, what is added to it, and ReLU, in as few passes over memory as there have to be.

`normed` gives what torch's layers give one after the other, rounded to bf16 once and not after each of them. Its own
way is taken for maps in bf16 on a processor, channels last, where numba is installed (`pip install 'selfsight[fast]'`);
else the layers are called.

The formulas, forward and back, are those of Ioffe and Szegedy 2015, section 3. Shapes: N images, C channels, H W.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from selfsight import openmp
from selfsight.compiling import compiled_module
from selfsight.watched import is_watched

LEAST = 2**17
"""Numbers of a map from which a pass of ours costs less than its call."""
WIDE = 256
"""Columns that short rows are laid side by side to, for the processor's wide registers."""
PARTS = 64
"""That the rows are shared out in, whatever the number of threads."""


def normed(norm: nn.Module, relu: nn.Module | None, x: Tensor, skip: Tensor | None = None) -> Tensor:
    """relu(norm(x) + skip), in any layout and type that the layers take: (N, C, H, W) -> the same."""
    if _is_ours(norm, relu, x, skip):
        ours: Tensor = _Normed.apply(x, norm.weight, norm.bias, skip, norm, relu is not None, False)[0]
        return ours
    y: Tensor = norm(x)
    if skip is not None:
        y = y + skip
    return y if relu is None else relu(y)


def normed_for_two(
    norm: nn.Module, relu: nn.Module | None, x: Tensor, skip: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What `normed` gives, twice, for two users: their gradients then need no pass of their own to be added up."""
    if _is_ours(norm, relu, x, skip):
        ours: tuple[Tensor, Tensor] = _Normed.apply(x, norm.weight, norm.bias, skip, norm, relu is not None, True)
        return ours
    return (normed(norm, relu, x, skip),) * 2


def is_installed() -> bool:
    """Whether compiled passes can be had."""
    return compiled_module("passes") is not None


def _is_ours(norm: nn.Module, relu: nn.Module | None, x: Tensor, skip: Tensor | None) -> bool:
    if not (_fits(x) and x.numel() >= LEAST and is_installed()):
        return False
    if type(norm) is not nn.BatchNorm2d or type(relu) not in (nn.ReLU, type(None)):
        return False
    if norm.weight is None or norm.bias is None or norm.running_mean is None or norm.momentum is None:
        return False
    if norm.weight.dtype != torch.float32 or (torch.is_grad_enabled() and not norm.training):
        return False
    if skip is not None and not (_fits(skip) and skip.shape == x.shape):
        return False
    return openmp.can_keep_up() and not is_watched()


def _fits(x: Tensor) -> bool:
    last = torch.channels_last
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.ndim == 4 and x.is_contiguous(memory_format=last)


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        skip: Tensor | None,
        norm: nn.BatchNorm2d,
        cuts: bool,
        twice: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        rows = _Rows(x)
        if norm.training:
            mean, variance = rows.moments(x)
            _remember(norm, mean, variance, rows.count)
        else:
            mean, variance = (t.double().numpy() for t in (norm.running_mean, norm.running_var))  # type: ignore[union-attr]
        per = 1 / np.sqrt(variance + norm.eps)
        factor = weight.detach().double().numpy() * per
        shift = bias.detach().double().numpy() - factor * mean
        y = torch.empty_like(x)
        rows.scale(x, factor, shift, cuts, skip, y)
        ctx.save_for_backward(x, y if cuts and (twice or skip is not None) else None)
        ctx.held = rows, mean, per, factor, shift, cuts, skip is not None
        return y, y.view_as(y) if twice else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor | None, also: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        rows, mean, per, factor, shift, cuts, joined = ctx.held
        if dy is None:
            dy, also = also, None
        if dy is None:
            return (None,) * 7
        dy = dy.contiguous(memory_format=torch.channels_last)
        if also is not None:
            also = also.contiguous(memory_format=torch.channels_last)
            if y is None:
                dy, also = dy + also, None
        everywhere = np.stack([0 * factor, 0 * shift + 1])
        if y is not None:  # what was added decided too what was cut off, and gets the same gradient
            dy, (added, scaled) = rows.mask_and_sum_back(dy, also, y, x, mean)
            passes = everywhere
        else:
            passes = np.stack([factor, shift]) if cuts else everywhere
            added, scaled = rows.sum_back(dy, x, np.stack([mean, *passes]))
        scaled = scaled * per
        b = -factor * per * scaled / rows.count
        dx = rows.scale_back(dy, x, np.stack([factor, b, -factor * added / rows.count - b * mean, *passes]))
        gradients = (torch.from_numpy(each).float() for each in (scaled, added))
        return dx, *gradients, dy if joined else None, None, None, None


def _remember(norm: nn.BatchNorm2d, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
    """Moves the running statistics, as torch does: the variance without its bias; and unseen by autograd, lest
    an earlier pass through torch's own layer, which has saved them, be taken for spoilt."""
    with torch.no_grad():
        for kept, now in ((norm.running_mean, mean), (norm.running_var, variance * count / max(1, count - 1))):
            kept.data.lerp_(torch.from_numpy(now).to(kept.dtype), norm.momentum)  # type: ignore[union-attr, arg-type]
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)


class _Rows:
    """The maps of one layer as rows, and the passes over them. Of each channel are all numbers here, in float64."""

    def __init__(self, x: Tensor) -> None:
        n, self.channels, h, w = x.shape
        self.count = n * h * w
        self.side_by_side = 1
        while self.side_by_side * self.channels < WIDE and self.count % (2 * self.side_by_side) == 0:
            self.side_by_side *= 2

    def moments(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Mean and biased variance. Of x less its first row, lest a large mean drown a small variance."""
        from selfsight.passes import SUM

        start = x[0, :, 0, 0].double().numpy()
        total, squares = self._sums(SUM, x.data_ptr(), self._wide(start))
        away = total / self.count
        return start + away, np.maximum(squares / self.count - away * away, 0)

    def scale(
        self, x: Tensor, factor: np.ndarray, shift: np.ndarray, cuts: bool, skip: Tensor | None, y: Tensor
    ) -> None:
        from selfsight.passes import JOIN, SCALE

        least = np.array([0 if cuts else -np.inf], np.float32)
        given = (self._wide(factor), self._wide(shift), least)
        self._run(
            SCALE if skip is None else JOIN, x.data_ptr(), *given, y.data_ptr(), 0 if skip is None else skip.data_ptr()
        )

    def sum_back(self, dy: Tensor, x: Tensor, told: np.ndarray) -> np.ndarray:
        """(2, C): the sums of dy and of dy (x - mean), where ReLU lets pass; told (3, C): mean, and factor and shift
        of x before it."""
        from selfsight.passes import SUM_BACK

        return self._sums(SUM_BACK, dy.data_ptr(), x.data_ptr(), self._wide(told))

    def mask_and_sum_back(
        self, dy: Tensor, also: Tensor | None, y: Tensor, x: Tensor, mean: np.ndarray
    ) -> tuple[Tensor, np.ndarray]:
        """dy + also where y is not 0; and (2, C) as of `sum_back`."""
        from selfsight.passes import MASK_AND_SUM_BACK

        out, share = torch.empty_like(y), np.array([also is not None], np.float32)
        maps = [each.data_ptr() for each in (dy, dy if also is None else also, y, x)]
        return out, self._sums(MASK_AND_SUM_BACK, *maps, self._wide(mean), share, out.data_ptr())

    def scale_back(self, dy: Tensor, x: Tensor, told: np.ndarray) -> Tensor:
        """a dy + b x + c, dy where ReLU lets pass; told (5, C): a, b, c, and factor and shift of x before ReLU."""
        from selfsight.passes import SCALE_BACK

        out = torch.empty_like(x)
        self._run(SCALE_BACK, dy.data_ptr(), x.data_ptr(), self._wide(told), out.data_ptr())
        return out

    def _wide(self, each: np.ndarray) -> np.ndarray:
        """Of each channel -> of each column, as passes read it."""
        return np.tile(each.astype(np.float32), self.side_by_side)  # of (rows, C) too: along the last axis

    def _sums(self, what: int, *given: Any) -> np.ndarray:
        out = np.zeros((PARTS, 2, self.side_by_side, self.channels))
        self._run(what, *given, out)
        summed: np.ndarray = out.sum((0, 2))
        return summed

    def _run(self, what: int, *given: Any) -> None:
        from selfsight.passes import job, work  # its import compiles, or reads what was compiled

        addresses = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in given]
        rows, columns = self.count // self.side_by_side, self.channels * self.side_by_side
        openmp.run(work, job(what, PARTS, rows, columns, *addresses))
