"""A corruption takes information away from pictures, on purpose, and says how much.

What is left is what a restorer is shown, and the picture what it is to give back. Finals are frozen dataclasses in
`corruptions/`. Every strength is a range, (least, most), of which each picture draws its own, on the CPU from a
generator that is passed in. How much a picture lost is measured on the pictures, alike for every corruption and for
every chain of them: `images/lost.py` says how.

Shapes: N images, C channels (1 or 3), H height, W width, any of both.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from selfsight.images.lost import lost


@dataclass(frozen=True)
class Corrupted:
    """What a corruption left."""

    images: Tensor
    """(N, C, H, W) in [0, 1], of the type and on the device of what was given."""
    where: Tensor
    """(N, 1, H, W), 1 where pixels were taken away altogether, else 0: all zeros where only colour or detail went."""
    removed: Tensor
    """(N,) in [0, 1], the share of each picture that was lost: 0 nothing, 1 all of it."""


@dataclass(frozen=True, kw_only=True)
class Corruption(abc.ABC):
    """What every final says. See `corruptions/noise.py` for the shortest."""

    chance: float = 1.0
    """Of a picture to be corrupted at all, [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ValueError(f"chance is that of a picture to be corrupted, in [0, 1], not {self.chance}")
        self.check()

    def __call__(self, images: Tensor, generator: Generator) -> Corrupted:
        """(N, C, H, W) float in [0, 1] -> what is left of it. Raises ValueError for anything else than such images."""
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            raise ValueError(
                f"a corruption takes (N, C, H, W) images of 1 or 3 channels, float in [0, 1], not "
                f"{tuple(images.shape)} {images.dtype}: divide bytes by 255"
            )
        precise = images.to(torch.promote_types(images.dtype, torch.float32))
        with torch.autocast(images.device.type, enabled=False):  # inside a step, too
            left, where = self.apply(precise, generator)
            removed = lost(precise, left)
        return Corrupted(left.to(images.dtype), where.to(images.dtype), removed.to(images.dtype))

    def apply(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """What is left and where it is gone, not measured: `damage`, done to as many pictures as `chance` says."""
        left, where = self.damage(images, generator)
        if self.chance == 1:
            return left, where
        hit = (torch.rand(len(images), 1, 1, 1, generator=generator) < self.chance).to(images)
        return torch.lerp(images, left, hit.expand_as(images)), where * hit

    @abc.abstractmethod
    def damage(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) in single or double precision -> what is left in [0, 1], and (N, 1, H, W) where it is gone."""

    def hides(self) -> bool:
        """Whether all it does is to hide: whatever is not gone altogether is as it was."""
        return False

    def reads(self) -> str:
        """A mark of what is read beside the images, another one where that has changed; "" where nothing is."""
        return ""

    def check(self) -> None:  # noqa: B027
        """Raises ValueError, in one sentence, where fields have impossible values."""


def kinds(corruption: Corruption) -> set[str]:
    """Names of the finals that a corruption is made of, chains and choices taken apart."""
    parts = [one for one in getattr(corruption, "corruptions", ()) if isinstance(one, Corruption)]
    return set().union(*map(kinds, parts)) if parts else {type(corruption).__name__}


def nowhere(images: Tensor) -> Tensor:
    """(N, 1, H, W) of zeros: no pixel is gone altogether."""
    return torch.zeros_like(images[:, :1])


def drawn(n: int, between: tuple[float, float], generator: Generator) -> Tensor:
    """(n,) evenly from least to most, on the CPU."""
    return between[0] + (between[1] - between[0]) * torch.rand(n, generator=generator)


def drawn_whole(n: int, between: tuple[int, int], generator: Generator) -> Tensor:
    """(n,) whole numbers from least to most, both included, on the CPU."""
    return torch.randint(between[0], between[1] + 1, (n,), generator=generator)


def check_range(
    name: str, value: tuple[float, float], meaning: str, low: float, high: float = float("inf"), closed: bool = True
) -> None:
    """Raises ValueError unless low <= least <= most <= high; both ends excluded where not `closed`."""
    least, most = value
    if least <= most and (low <= least and most <= high if closed else low < least and most < high):
        return
    sign, end = "<=" if closed else "<", "" if high == float("inf") else f" {'<=' if closed else '<'} {high:g}"
    raise ValueError(f"{name} is (least, most) {meaning}, {low:g} {sign} least <= most{end}, not {value}")
