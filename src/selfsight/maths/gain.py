"""How far to go in a direction, so that no picture becomes worse: a closed-form line search, one number a picture.

Shapes: N pictures, C channels, H W side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

CODES = (0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0, 1.25)
"""Gains of three bits. 0 is always one of them: then nothing is changed, and nothing can become worse."""


def line_search(
    left: Float[Tensor, "n c h w"], change: Float[Tensor, "n c h w"], codes: Sequence[float] | None = None
) -> Float[Tensor, " n"]:
    """The gain a of each picture for which |left - a change| is least; of `codes`, where given.

    Raises ValueError where `codes` do not hold 0. A change that is no finite number gets 0.
    """
    e, d = left.detach().flatten(1), change.detach().flatten(1)
    e, d = (one.to(torch.promote_types(one.dtype, torch.float32)) for one in (e, d))
    best = (e * d).sum(1) / d.square().sum(1).clamp(min=torch.finfo(d.dtype).tiny)
    best = torch.where(best.isfinite(), best, torch.zeros_like(best))
    if codes is None:
        return best
    if 0.0 not in codes:
        raise ValueError(f"codes of a gain hold 0, so that no picture becomes worse, not {tuple(codes)}")
    table = torch.tensor(codes, dtype=best.dtype, device=best.device)
    return table[(best[:, None] - table).abs().argmin(1)]
