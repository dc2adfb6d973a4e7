"""A transformer's layers between its products of matrices, for tokens in bf16 on a processor.

What is added up from layer to layer stays float32; what is multiplied is bf16. torch takes a pass to add, one to
normalise, one to round, and as many back: `joined` takes one each way. `attended` lays heads in order in memory first,
as torch's products of many small matrices take three times as long where they do not lie so. `gelued` has its
exponential by a short series, exact to what bf16 can tell.

Formulas: Ba, Kiros, Hinton 2016, "Layer Normalization", equation 3; Vaswani et al. 2017, "Attention Is All You Need",
equation 1; Hendrycks, Gimpel 2016, "Gaussian Error Linear Units", section 2. Shapes: N images, T tokens, C channels, D
channels of a head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from selfsight import openmp
from selfsight.normed import LEAST, PARTS, is_installed
from selfsight.watched import is_watched


def joined(x: Tensor, branch: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """x + branch, and norm of it in bf16; what `is_ours` took: x (N, T, C) float32, branch the same in bf16.

    A branch in other numbers goes torch's way.
    """
    if branch.dtype != torch.bfloat16 or branch.shape != x.shape:
        both = x + branch
        return both, norm(both)
    whole, y = _Joined.apply(x, branch, norm.weight, norm.bias, norm.eps)
    return whole, y


def attended(qkv: Tensor, heads: int, scale: float) -> Tensor:
    """softmax(scale q k') v of each head: (N, T, 3 heads D) in bf16 -> (N, T, heads D)."""
    ours: Tensor = _Attended.apply(qkv, heads, scale)
    return ours


def gelued(act: nn.Module, x: Tensor) -> Tensor:
    """GELU by an nn.GELU, in as few passes as there are: any shape -> the same."""
    ours = type(act) is nn.GELU and act.approximate == "none" and x.dtype == torch.bfloat16 and x.is_contiguous()
    y: Tensor = _Gelued.apply(x) if ours else act(x)
    return y


def is_ours(x: Tensor) -> bool:
    """Whether a transformer's tokens can go the quick way: float32 on a processor, multiplied in bf16."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() < LEAST or not x.is_contiguous():
        return False
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    return is_installed() and openmp.can_keep_up() and not is_watched()


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        from selfsight.passes import LAYER

        branch = branch.contiguous()
        whole, y = torch.empty_like(x), torch.empty_like(branch)
        told = torch.empty(x.numel() // x.shape[-1], 2)
        given = np.stack([weight.detach().numpy(), bias.detach().numpy()])
        _run(LAYER, x, x, branch, given, np.array([eps], np.float32), whole, y, told)
        ctx.save_for_backward(whole, weight, told)
        ctx.set_materialize_grads(False)
        return whole, y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, also: Tensor | None, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        from selfsight.passes import LAYER_BACK

        whole, weight, told = ctx.saved_tensors
        if dy is None:
            return also, None if also is None else also.bfloat16(), None, None, None
        also = torch.zeros_like(whole) if also is None else also.contiguous()
        dx, branch = torch.empty_like(whole), torch.empty_like(dy, memory_format=torch.contiguous_format)
        sums = np.zeros((PARTS, 2, whole.shape[-1]))
        each = weight.detach().contiguous()
        _run(LAYER_BACK, whole, dy.contiguous(), also, whole, each, told, dx, branch, sums)
        of_weight, of_bias = torch.from_numpy(sums.sum(0)).float()
        return dx, branch, of_weight, of_bias, None


class _Gelued(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        from selfsight.passes import GELU

        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        _run(GELU, x, x, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        from selfsight.passes import GELU_BACK

        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        _run(GELU_BACK, x, dy.contiguous(), x, dx)
        return dx


def _run(what: int, x: Tensor, *given: Any) -> None:
    from selfsight.passes import job, work  # its import compiles, or reads what was compiled

    addresses = [each.data_ptr() if isinstance(each, Tensor) else each.ctypes.data for each in given]
    openmp.run(work, job(what, PARTS, x.numel() // x.shape[-1], x.shape[-1], *addresses))


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, scale: float) -> Tensor:
        n, tokens, _ = qkv.shape
        with torch.autocast("cpu", enabled=False):
            q, k, v = qkv.view(n, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)
            scores = q.new_empty(n * heads, tokens, tokens)
            found = torch.baddbmm(scores, q, k.transpose(1, 2), beta=0, alpha=scale).softmax(-1)
            ctx.save_for_backward(q, k, v, found)
            ctx.heads, ctx.scale = heads, scale
            return torch.bmm(found, v).unflatten(0, (n, heads)).transpose(1, 2).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, found = ctx.saved_tensors
        n, tokens, _ = dy.shape
        with torch.autocast("cpu", enabled=False):
            down = dy.view(n, tokens, ctx.heads, -1).transpose(1, 2).contiguous().flatten(0, 1)
            of_found = torch.bmm(down, v.transpose(1, 2))
            of_scores = torch.ops.aten._softmax_backward_data(of_found, found, -1, found.dtype)
            out = q.new_empty(3, *q.shape)
            for i, (one, other) in enumerate(((of_scores, k), (of_scores.transpose(1, 2), q))):
                torch.baddbmm(out[i], one, other, beta=0, alpha=ctx.scale, out=out[i])
            torch.bmm(found.transpose(1, 2), down, out=out[2])
            out = out.unflatten(1, (n, ctx.heads))  # (3, N, heads, T, D)
            return out.permute(1, 3, 0, 2, 4).flatten(2), None, None
