"""A restorer puts back what was taken from a picture, several ways: one code, one answer.

`Restorer` is its frozen description; `build()` makes a `Stack`, which answers coarse to fine: each level sees what is
left of the picture at its own side, what the levels before made of it, and its own code. Codes are standard normal, a
function of one seed each, so that whoever keeps a code keeps eight bytes.

Shapes: N pictures, K codes a picture, C channels, L levels, H W side, D embedding, F numbers in a code.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

State = tuple[Tensor, ...]
"""What a level hands to the next; every tensor's first dimension is the picture."""

SEEDS = 2**31
"""Seeds are below this: torch's generator on the CPU reads 32 bits."""


@dataclass(frozen=True)
class Asked:
    """Pictures that a level is asked about, but for the codes."""

    left: Tensor
    """(N, C, s, s) at the level's side s, with one channel more where the stack is told what is gone."""
    state: State | None
    """Of N pictures; None at level 0."""
    z: Tensor | None
    """(N, D), where the restorer is given embeddings."""
    seen: Tensor
    """What `Stack.look` gave."""


class Stack(nn.Module, abc.ABC):
    """A built restorer. Subclasses say what one level does; no picture's answer depends on its neighbours'."""

    def __init__(self, sides: tuple[int, ...], lengths: tuple[int, ...], sees_holes: bool = False) -> None:
        super().__init__()
        self.sees_holes = sees_holes
        """Whether what is left comes with where pixels are gone altogether, its last channel: see `with_holes`."""
        self.sides = sides
        """Of each level's pictures, coarse to fine; the last is the picture's own."""
        self.lengths = lengths
        """F of each level's code; all 0 where there is one answer only."""

    @property
    def levels(self) -> int:
        return len(self.sides)

    def with_holes(self, left: Tensor, where: Tensor) -> Tensor:
        """What a corruption left (N, C, H, W), and where it is gone (N, 1, H, W) -> what this stack is asked about."""
        return torch.cat([left, where.to(left)], 1) if self.sees_holes else left

    @abc.abstractmethod
    def level(
        self, l: int, left: Tensor, code: Tensor, state: State | None = None, z: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """One level's answers, and what the next level has to know.

        left (N, C, s, s) at this level's side s, as `with_holes` gave it; code (N K, F), the K codes of a picture in a
        row; state of N pictures, None at level 0; z (N, D) or None -> answers (N K, C, s, s) in [0, 1], and a state of
        N K pictures. What does not depend on the code is computed once a picture.
        """

    def glances(self, left: Tensor) -> bool:
        """Whether `look` and `glance` are there for such pictures, and much quicker than `level`."""
        return False

    def look(self, l: int, left: Tensor, state: State | None) -> Tensor:
        """What does not depend on the code, for `glance` and `level`; a row a picture."""
        raise NotImplementedError

    def exactly(self, l: int, asked: Asked, code: Tensor) -> tuple[Tensor, State]:
        """As `level`, of what was looked at already."""
        raise NotImplementedError

    def glance(self, l: int, asked: Asked, code: Tensor, truth: Tensor, weights: tuple[float, float]) -> Tensor:
        """Roughly how far each of one level's answers is from the truth.

        code (N K, F); truth (N, C, s, s); weights of squared differences of pixels and of neighbours' differences ->
        (N, K), to some thousandths.
        """
        raise NotImplementedError

    def forward(self, left: Tensor, codes: Sequence[Tensor], z: Tensor | None = None) -> list[Tensor]:
        """left (N, C, H, W) as `with_holes` gave it, one code a level (N, F), z (N, D) or None -> an answer a level,
        coarse first."""
        answers, state = [], None
        for l, small in enumerate(self.pictures(left)):
            answer, state = self.level(l, small, codes[l], state, z)
            answers.append(answer)
        return answers

    def pictures(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) at every level's side, by means over areas, coarse to fine."""
        if images.shape[-1] != self.sides[-1] or images.shape[-2] != self.sides[-1]:
            raise ValueError(
                f"this restorer was built for pictures of {self.sides[-1]} x {self.sides[-1]} pixels, not "
                f"{images.shape[-2]} x {images.shape[-1]}: resize them, or build it for that size"
            )
        made = [images]
        for _ in self.sides[1:]:
            made.insert(0, F.avg_pool2d(made[0], 2))
        return made

    def seeds(self, n: int, k: int, generator: Generator) -> Tensor:
        """Fresh seeds of K codes a picture and level: (N, L, K) int64 on the CPU."""
        return torch.randint(SEEDS, (n, self.levels, k), generator=generator)

    def code(self, l: int, seeds: Tensor) -> Tensor:
        """The codes of level l that belong to these seeds: (M,) -> (M, F), drawn on the CPU, put beside the weights."""
        codes, one = torch.empty(len(seeds), self.lengths[l], dtype=torch.float32), Generator()
        if self.lengths[l]:
            for row, seed in zip(codes, seeds.tolist(), strict=True):
                row.normal_(generator=one.manual_seed(seed))
        return codes.to(next(self.parameters()))

    def codes(self, seeds: Tensor) -> list[Tensor]:
        """One code a level: (N, L) -> L tensors (N, F)."""
        return [self.code(l, seeds[:, l]) for l in range(self.levels)]

    def draw(self, n: int, generator: Generator) -> list[Tensor]:
        """Fresh codes for n pictures: L tensors (n, F)."""
        return self.codes(self.seeds(n, 1, generator)[:, :, 0])


class Restorer(abc.ABC):
    """Finals are frozen dataclasses in `restorers/`."""

    @abc.abstractmethod
    def build(self, channels: int, size: int, dim: int = 0, seed: int = 0) -> Stack:
        """A fresh stack for (channels, size, size) pictures, its weights a function of `seed` alone.

        dim: D, the length of an encoder's embedding of what is left, which then is given with each picture; 0: none.
        Raises ValueError where it cannot be built for such pictures.
        """

    def suited(self, hides: bool) -> Restorer:
        """As it is to be where a corruption only hides (`Corruption.hides`) or does not, if that is left open.

        Raises ValueError where it was told to be what cannot be.
        """
        return self


def halved(size: int, coarsest: int) -> tuple[int, ...]:
    """Sides from coarse to fine: `size` halved as long as it is even and no side falls below `coarsest`."""
    sides = [size]
    while sides[0] % 2 == 0 and sides[0] // 2 >= coarsest:
        sides.insert(0, sides[0] // 2)
    return tuple(sides)
