"""Is the gradient that is one product the gradient?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsight.bf16 import bf16_is_native
from selfsight.convolved import convolved, gathered

OURS = "_ConvolvedBackward"
CASES = ((16, 24, 4, 3, 1, 1), (16, 24, 8, 3, 2, 1), (16, 24, 7, 1, 2, 0), (16, 24, 5, 3, 2, 0))
"""Channels in and out, side, kernel, stride, padding."""


def _layer(case: tuple[int, ...]) -> tuple[nn.Conv2d, torch.Tensor]:
    given, wanted, side, kernel, stride, padding = case
    torch.manual_seed(0)
    conv = nn.Conv2d(given, wanted, kernel, stride, padding, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(6, given, side, side).contiguous(memory_format=torch.channels_last)
    return conv, x


@pytest.mark.parametrize("case", CASES)
def test_gathered_is_what_the_kernel_sees(case: tuple[int, ...]) -> None:
    conv, x = _layer(case)
    rows = gathered(x, *case[3:]) @ conv.weight.permute(0, 2, 3, 1).reshape(case[1], -1).t()
    wanted = conv(x)
    torch.testing.assert_close(rows.view(*wanted.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2), wanted)


@pytest.mark.skipif(not bf16_is_native(), reason="torch's way in bf16 is what it is held against")
@pytest.mark.parametrize("case", CASES)
def test_gradients_err_no_more_than_torchs(case: tuple[int, ...]) -> None:
    told = []
    for way in ("exact", "torch", "ours"):
        conv, x = _layer(case)
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=way != "exact"):
            seen = x if way == "exact" else x.bfloat16()
            y = convolved(conv, seen) if way == "ours" else conv(seen)
        assert y.grad_fn is not None and (y.grad_fn.name() == OURS) == (way == "ours")
        y.backward(torch.linspace(-1, 1, y.numel()).view_as(y).to(y))
        told.append((x.grad, conv.weight.grad))
    for wanted, usual, ours in zip(*told, strict=True):
        assert wanted is not None and usual is not None and ours is not None
        assert (ours - wanted).norm() < 1.2 * (usual - wanted).norm() + 1e-4 * wanted.norm()


@pytest.mark.parametrize("why", ["large", "fp32", "with a bias", "grouped", "frozen"])
def test_other_layers_take_torchs_way(why: str) -> None:
    conv, x = _layer((16, 24, 16 if why == "large" else 4, 3, 1, 1))
    if why in ("with a bias", "grouped"):
        conv = nn.Conv2d(16, 24, 3, padding=1, bias=why == "with a bias", groups=2 if why == "grouped" else 1)
    conv.requires_grad_(why != "frozen")
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=why != "fp32"):
        y = convolved(conv, x if why == "fp32" else x.bfloat16())
    assert y.grad_fn is not None and y.grad_fn.name() != OURS
