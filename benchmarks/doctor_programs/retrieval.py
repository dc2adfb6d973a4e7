"""What a user of two-view training cares for: is an unseen picture found again among others, from another random view of it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doctor_programs.host import Host


def found_again(
    host: Host,
    model: nn.Module,
    augment: Callable[[Tensor], Tensor],
    pack: Callable[[Tensor], Any],
    size: int,
) -> float:
    """The share of 240 pictures whose second view, in another order, is nearest to their own first view.

    `augment` is the host's healthy one, whatever its training does; `pack` makes a batch of `size` single views.
    """
    assert host.embed is not None
    torch.manual_seed(0)
    pictures = host.pictures(False)[0]
    chosen = torch.linspace(0, len(pictures) - 1, 240).long()
    shown = [host.prepare(picture) for picture in pictures[chosen]]
    order = torch.randperm(len(shown))
    first = torch.stack([augment(picture) for picture in shown]).split(size)
    second = torch.stack([augment(shown[i]) for i in order.tolist()]).split(size)
    z1, z2 = (torch.cat([host.embed(model, pack(part)) for part in views]) for views in (first, second))
    centre = z1.mean(0)
    near = F.normalize(z2 - centre, dim=1) @ F.normalize(z1 - centre, dim=1).t()
    return float((near.argmax(1) == order).float().mean())
