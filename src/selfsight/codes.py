"""Which code each image was given last, and when it is to choose anew.

A code is kept as the seed it is a function of: eight bytes a level, where at 64 pixels the numbers themselves are 6 KB
an image and would have to be saved with every checkpoint. Making them anew takes 0.02 ms an image of 64 pixels.

When to choose anew is the rule of Adaptive IMLE (Aghabozorgi, Peng, Li 2023, "Adaptive IMLE for Few-shot
Pretraining-free Generative Modelling", algorithm 1; https://github.com/mehranagh20/AdaIMLE): once the answer to an
image's code has come nearer than the image's own threshold, which then falls, so that all images get on alike; not
sooner than `staleness` visits after the last choice, and in any case after `forced`. We depart in that the code it has
competes with the fresh ones, unless `keeps` says no: a choice among few codes can be worse than what it throws away.

Shapes: N images of a batch, L levels, K codes a level, R rows of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """Good: the defaults of Adaptive IMLE's authors. With staleness=0 and forced=1 every other visit chooses
    anew, and those between of images that came nearer."""

    threshold: float | None = None
    """First threshold of each image, in units of the distance summed over levels; None: any distance is below it."""
    shrink: float = 0.04
    """At each choice an image's threshold becomes 1 - shrink times its distance just then; [0, 1)."""
    staleness: int = 7
    """Visits that a code is kept at least; 0 or more."""
    forced: int = 30
    """Visits after which it is chosen anew in any case; at least 1 and at least `staleness`."""
    keeps: bool = True
    """The code an image has is one of the candidates."""

    def __post_init__(self) -> None:
        if not 0 <= self.shrink < 1:
            raise ValueError(f"shrink is a share in [0, 1), not {self.shrink}")
        if self.staleness < 0 or self.forced < max(1, self.staleness):
            raise ValueError(
                f"staleness is a number of visits, at least 0, and forced at least 1 and at least staleness, not "
                f"{self.staleness} and {self.forced}"
            )
        if self.threshold is not None and not self.threshold > 0:
            raise ValueError(f"threshold is a distance above 0, or None, not {self.threshold}")


class CodeCache(nn.Module):
    """Memory of `rows` images in buffers, so that a resumed training goes on with the same codes.

    An image's row is its index modulo `rows`: with fewer rows than images, the one seen last keeps the row, the other
    chooses anew. Under torchrun each process remembers what it saw; wrappers that broadcast buffers pass on rank 0's.
    """

    def __init__(self, rows: int, levels: int, rule: Refresh | None = None) -> None:
        super().__init__()
        if rows < 1:
            raise ValueError(f"a cache has at least one row, not {rows}: give the number of images")
        self.rule = rule or Refresh()
        first = float("inf") if self.rule.threshold is None else self.rule.threshold
        self.owner: Tensor
        self.seeds: Tensor
        self.distance: Tensor
        self.threshold: Tensor
        self.age: Tensor
        self.register_buffer("owner", torch.full((rows,), -1))
        self.register_buffer("seeds", torch.zeros(rows, levels, dtype=torch.int64))
        self.register_buffer("distance", torch.full((rows, levels), float("inf"), dtype=torch.float32))
        self.register_buffer("threshold", torch.full((rows,), first, dtype=torch.float32))
        self.register_buffer("age", torch.zeros(rows, dtype=torch.int64))

    def knows(self, index: Tensor) -> Tensor:
        """(N,) image indices -> (N,) bool: has it a code."""
        index = index.to(self.owner.device)
        return self.owner[self._row(index)] == index

    def due(self, index: Tensor) -> Tensor:
        """(N,) bool: is it to choose now. An image without a code always is."""
        row = self._row(index)
        near = self.distance[row].sum(1) < self.threshold[row]
        stale = near & (self.age[row] >= self.rule.staleness)
        return ~self.knows(index) | stale | (self.age[row] >= self.rule.forced)

    def kept(self, index: Tensor) -> Tensor:
        """(N, L) seeds on the CPU; of images without a code they mean nothing."""
        return self.seeds[self._row(index)].cpu()

    def candidates(self, index: Tensor, fresh: Tensor) -> Tensor:
        """Fresh seeds (N, L, K), the first of them replaced by the one the image has, where the rule keeps it."""
        if not self.rule.keeps:
            return fresh
        known = self.knows(index).cpu()[:, None]
        first = torch.where(known, self.kept(index), fresh[:, :, 0])
        return torch.cat([first[:, :, None], fresh[:, :, 1:]], 2)

    def update(self, index: Tensor, seeds: Tensor, distance: Tensor, due: Tensor) -> Tensor:
        """After a visit: what codes were used, how far their answers were, who had chosen.

        index (N,); seeds (N, L); distance (N, L), at each level; due (N,) bool, as `due` said before the visit
        -> the share of the images with a code that chose and came out with another, scalar; 0 where none chose.
        """
        device = self.owner.device
        index, seeds, distance, due = (x.detach().to(device) for x in (index, seeds, distance, due))
        known, row = self.knows(index), self._row(index)
        changed = (self.seeds[row] != seeds).any(1)[known & due].float()
        fallen = (1 - self.rule.shrink) * self.distance[row].sum(1)
        first = torch.full_like(fallen, float("inf") if self.rule.threshold is None else self.rule.threshold)
        threshold = torch.where(due, torch.where(known, fallen, first), self.threshold[row])
        age = torch.where(due, 0, self.age[row] + 1)
        last = ~(row[:, None] == row).triu(1).any(1)  # of two images with one row the later has it, on every device
        row = row[last]
        self.owner[row], self.seeds[row] = index[last], seeds[last]
        self.distance[row], self.threshold[row] = distance[last].to(self.distance.dtype), threshold[last]
        self.age[row] = age[last]
        return changed.mean() if len(changed) else changed.new_zeros(())

    def _row(self, index: Tensor) -> Tensor:
        return index.to(self.owner.device) % len(self.owner)
