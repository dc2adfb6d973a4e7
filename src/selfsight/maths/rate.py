"""What rounded numbers cost in bits: by fixed widths, which is what is sent, and by what an entropy coder would need.

Shapes: N pictures, D numbers.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

REACH = 4.0
"""Deviations on either side of 0 that a code holds; of a Laplace variable 0.35 % lie farther out, and are clamped."""


def levels(scale: Float[Tensor, " d"], step: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """The largest whole number of steps that each number may have; 0: too small to be sent at all."""
    return (REACH * scale / step).round()


def width(most: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Bits of a fixed-width code for whole numbers in -most..most."""
    return (2 * most + 1).log2().ceil()


def laplace_bits(
    whole: Float[Tensor, "n d"], scale: Float[Tensor, " d"], step: Float[Tensor, " d"], most: Float[Tensor, " d"]
) -> Float[Tensor, "n d"]:
    """An estimate of what an arithmetic coder needs: -log2 of the share that a Laplace density of the deviation
    `scale` gives each whole number of steps. Numbers with most = 0 are not sent and cost nothing."""
    spread = (scale / math.sqrt(2)).clamp(min=1e-12) / step  # in steps
    none = -torch.expm1(-0.5 / spread)
    some = -torch.expm1(-1 / spread) * torch.exp(-(whole.abs() - 0.5).clamp(min=0.5) / spread) / 2
    bits = -torch.where(whole == 0, none, some).clamp(min=1e-12).log2()
    return torch.where(most > 0, bits, torch.zeros_like(bits))
