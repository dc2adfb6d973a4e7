"""A convolution whose weights' gradient is one matrix product, where maps are small and channels many.

oneDNN goes through such maps place by place: of 256 pictures' 512 channels on 2 x 2 places the gradient took it 62 ms,
the product over all places of all pictures 4 (two cores, bf16). Where maps are larger, what has to be gathered for the
product outweighs what it saves.

Shapes: N images, C channels in and M out, H W in, h w out, k the kernel's side.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from selfsight.watched import is_watched

SMALL = 144
"""Places of an image's result times those of the kernel, up to which the product was faster, of 64 channels and more:
3 x 3 on 4 x 4 (4.7 ms for 13.4), 1 x 1 on 8 x 8 (1.2 for 2.1); on 8 x 8 3 x 3 was slower (8.7 for 6.5)."""


def convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """What the layer gives: (N, C, H, W) -> (N, M, h, w)."""
    if not _is_ours(conv, x):
        y: Tensor = conv(x)
        return y
    weight = conv.weight.to(x.dtype)
    ours: Tensor = _Convolved.apply(x, weight, conv.stride[0], conv.padding[0])  # type: ignore[index]
    return ours


def _is_ours(conv: nn.Module, x: Tensor) -> bool:
    if type(conv) is not nn.Conv2d or x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return False
    if not (torch.is_grad_enabled() and conv.weight.requires_grad and torch.is_autocast_enabled("cpu")) or is_watched():
        return False
    plain = conv.bias is None and conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    square = isinstance(conv.padding, tuple) and all(
        len({*v}) == 1 for v in (conv.kernel_size, conv.stride, conv.padding)
    )
    if not (plain and square and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return False
    side, around = conv.kernel_size[0], 2 * int(conv.padding[0])
    places = [(length + around - side) // conv.stride[0] + 1 for length in x.shape[2:]]
    return side * side * places[0] * places[1] <= SMALL


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.held = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (stride, padding) = ctx.saved_tensors, ctx.held
        dy = dy.contiguous(memory_format=torch.channels_last)
        (m, c, k, _), dx = weight.shape, None
        if ctx.needs_input_grad[0]:
            given = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False])
            dx = torch.ops.aten.convolution_backward(dy, x, weight, None, *given)[0]
        product = dy.permute(0, 2, 3, 1).reshape(-1, m).t() @ gathered(x, k, stride, padding)
        return dx, product.view(m, k, k, c).permute(0, 3, 1, 2), None, None


def gathered(x: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """What the kernel sees at each place: (N, C, H, W) -> (N h w, k k C), zeros beyond the border."""
    n, c = x.shape[:2]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4)).contiguous()
    h, w = ((length - side) // stride + 1 for length in padded.shape[1:3])
    image, row, column, channel = padded.stride()
    steps = (image, row * stride, column * stride, row, column, channel)
    return padded.as_strided((n, h, w, side, side, c), steps).reshape(n * h * w, side * side * c)
