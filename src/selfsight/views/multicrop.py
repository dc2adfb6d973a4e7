"""Large pictures of an image and small ones, which cost a quarter each; or several large ones alone.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", section 3.2 (multi-crop). We depart in two ways. A small picture is a view of a window of half the side,
which lies anywhere: nothing is shrunk that was made large. And every picture has to find every other, small ones too,
as for any source of more than two. Four small pictures are laid into one of the full side until the network is asked,
so that a batch is one tensor.

Shapes: N images, V pictures that are laid out, C channels, S side, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from selfsight.batch import Batch, Example
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.view import Choice, ViewSource

TILES = 4
"""Small pictures in one of the full side."""


@dataclass(frozen=True, kw_only=True)
class MultiCropViews(ViewSource):
    """Meant for where steps are dear and parts tell what the whole is. Poor on images of few pixels, whose quarters
    show nothing; and encoders that take one side alone, as most transformers, cannot be asked about small pictures:
    small 0 shows large ones alone, and --batch made as much smaller costs no more than two of each image."""

    choose: ClassVar[Choice] = "all"
    mosaics: ClassVar[bool] = True

    large: int = 1
    """Pictures of the full side of each image; at least 1, and 2 without small ones."""
    small: int = 4
    """Pictures of half the side, a multiple of 4, or 0; each costs a quarter."""
    views: Views = Views()
    """What may change between the large ones."""
    windows: Views = Views()
    """What may change between the small ones, which are views of windows of half the side: with crop (0.2, 1.0) each
    shows 5 to 25 % of the image."""

    def __post_init__(self) -> None:
        if self.large < 1 or self.small < 0 or self.small % TILES or self.shown() < 2:
            raise ValueError(
                f"large is at least 1, small a multiple of {TILES}, and both together at least 2, "
                f"not {self.large} and {self.small}"
            )

    def example(self, batch: Batch, generator: Generator) -> Example:
        images = batch.images
        n, _, side, wide = images.shape
        large = self.views(images.repeat_interleave(self.large, 0), generator).unflatten(0, (n, self.large))
        if not self.small:
            return Example(inputs=large, index=batch.index)
        if side != wide or side % 2:
            raise UserError(f"Small pictures need images of an even side, not {wide} x {side} pixels: give --size 32.")
        small = self.windows(cut_windows(images, self.small, generator), generator)
        laid_out = laid(small.unflatten(0, (n, self.small)))
        return Example(inputs=torch.cat([large, laid_out], 1), index=batch.index)

    def embedded(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        if not self.small:
            return encoder(pictures.flatten(0, 1))
        n, small = len(pictures), taken_apart(pictures[:, self.large :])
        found = encoder(pictures[:, : self.large].flatten(0, 1)).unflatten(0, (n, -1))
        try:
            more = encoder(small.flatten(0, 1)).unflatten(0, (n, -1))
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            side = small.shape[-1]
            raise UserError(
                f"This encoder cannot be asked about small pictures, of {side} pixels: take another one, as the "
                f"default, a larger --size, or --views ordinary. ({str(error).splitlines()[0]})"
            ) from error
        return torch.cat([found, more], 1).flatten(0, 1)

    def shown(self) -> int:
        return self.large + self.small

    def caption(self, example: Example, i: int) -> str:
        return f"one image: {self.large} large and {self.small} small views" if self.small else f"{self.large} views"


def cut_windows(images: Tensor, count: int, generator: Generator) -> Tensor:
    """`count` windows of half the side of each image, each place as likely: (N, C, S, S) -> (N count, C, S/2, S/2)."""
    n, channels, side, _ = images.shape
    half = side // 2
    top, left = torch.randint(half + 1, (2, n * count), generator=generator).to(images.device)
    reach = torch.arange(half, device=images.device)
    rows = (top[:, None] + reach)[:, None, :, None]
    columns = (left[:, None] + reach)[:, None, None, :]
    which = torch.arange(n, device=images.device).repeat_interleave(count).view(-1, 1, 1, 1)
    return images[which, torch.arange(channels, device=images.device).view(1, -1, 1, 1), rows, columns]


def laid(small: Tensor) -> Tensor:
    """Four pictures to one of twice their side: (N, 4 V, C, h, h) -> (N, V, C, 2h, 2h)."""
    tiles = small.unflatten(1, (-1, 2, 2))  # (N, V, down, across, C, h, h)
    n, v, down, across, channels, h, w = tiles.shape
    return tiles.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, v, channels, down * h, across * w)


def taken_apart(pictures: Tensor) -> Tensor:
    """Back: (N, V, C, S, S) -> (N, 4 V, C, S/2, S/2)."""
    n, v, channels, side, _ = pictures.shape
    half = side // 2
    tiles = pictures.reshape(n, v, channels, 2, half, 2, half).permute(0, 1, 3, 5, 2, 4, 6)
    return tiles.reshape(n, TILES * v, channels, half, half)
