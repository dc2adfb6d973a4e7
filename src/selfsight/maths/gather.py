"""What the other processes hold. With one process, everything here is the identity."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gathered(z: Tensor) -> Tensor:
    """(N, ...) of each process -> (R N, ...) in order of rank, the same everywhere; gradients flow back to all."""
    if processes() == 1:
        return z
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(z.contiguous()))
