"""Bands: each token is a band of numbers of the picture, and a net fills in what has not been sent.

Numbers are those of an orthonormal basis that is counted from the first images (`maths/basis.py`), in the order of
their variance: token t brings the t-th band of what is left, exactly. A small net looks at the picture that is known so
far and says the mean of all numbers still to come; the next token then only corrects it. Some numbers of each token
are the encoder's own: what it saw of the whole picture, told to that net in the order of tokens, with no more than the
first t of them at length t (nested dropout; Rippel, Gelbart, Adams 2014, "Learning Ordered Representations with Nested
Dropout"). The encoder's embedding is thus what a few numbers cannot say about pixels one by one.

Where it departs from residual passes of one net ("Variable Length Embeddings", arXiv 2305.09967): bands are
orthogonal, so that what the t-th token knows does not depend on the passes before. One pass of the net at a random
length trains all lengths, where T passes would have to be gone through.

Shapes: N pictures, T tokens, D numbers a token of which K are told by the encoder, C channels, S side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.batch import Now
from selfsight.encoder import Encoder
from selfsight.maths.basis import Bases, analysed, composed, cosines, moments, principal
from selfsight.maths.gather import gathered
from selfsight.speller import Memory, Practice, Speller, Spelling
from selfsight.spellers.filling import Filling

TOLD_STEP = 0.5
"""What the encoder tells is rounded to half of its deviation."""


@dataclass(frozen=True, kw_only=True)
class Bands(Speller):
    """Good at every rate, and fast: one pass trains all lengths. Poor where tokens shall own regions: each is of the
    whole picture."""

    tokens: int = 12
    """T, the longest spelling."""
    floats: int = 32
    """Floats a token, its gain included; at least 2 more than `told`."""
    told: int = 1
    """K, numbers of each token that the encoder says; the others are measured. At least 1. More of them are worth it
    only where the encoder has hours: after 14 s on emoji of 32 pixels, one left 4 to 14 % less error than principal
    components of as many floats at every length."""
    width: int = 32
    """Channels of the net that fills in."""
    side: int = 16
    """Of the map on which that net works, up to twice as much: half as much is four times as fast, and coarser."""
    settling: int = 10
    """Steps over which the basis is counted, and as many for the order of its numbers. 0: cosines in a fixed order."""

    def __post_init__(self) -> None:
        if (
            self.tokens < 1
            or self.told < 1
            or self.floats < self.told + 2
            or min(self.width, self.side) < 1
            or self.settling < 0
        ):
            raise ValueError(
                f"a token has told >= 1 numbers of the encoder's, at least one that is measured, and a gain, so floats "
                f">= told + 2; tokens, width and side are at least 1 and settling at least 0: not {self}"
            )

    def build(self, encoder: Encoder) -> Spelling:
        return Banded(self, encoder)

    def settle(self, spelling: Banded, images: Tensor, now: Now) -> None:
        spelling.count(images, now.step, self.settling)


class Banded(Spelling):
    """The basis with what was counted (buffers), what the encoder tells, and the net that fills in."""

    mean: Tensor
    channels: Tensor
    rows: Tensor
    columns: Tensor
    order: Tensor
    total: Tensor
    variance: Tensor
    counted: Tensor

    def __init__(self, given: Bands, encoder: Encoder) -> None:
        shape = (encoder.channels, encoder.size, encoder.size)
        super().__init__(given.tokens, given.floats - 1, 0, shape)
        self.told, self.measured = given.told, given.floats - 1 - given.told
        self.head = nn.Sequential(
            nn.Linear(encoder.dim, given.told * given.tokens), nn.BatchNorm1d(given.told * given.tokens, affine=False)
        )
        self.filling = Filling(shape[0], shape[1], given.side, given.width, given.told * given.tokens, given.tokens)
        self.register_buffer("mean", torch.full(shape, 0.5))
        for name, n in zip(("channels", "rows", "columns"), shape, strict=True):
            self.register_buffer(name, cosines(n))
            self.register_buffer(f"{name}_moment", torch.zeros(n, n))
        k, l = torch.arange(shape[1])[:, None], torch.arange(shape[1])
        expected = (1.0 + k**2 + l**2) * torch.tensor([1.0, 8.0, 16.0, 32.0])[: shape[0], None, None]
        self.register_buffer("order", expected.flatten().argsort(stable=True))
        self.register_buffer("total", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(shape))
        self.register_buffer("counted", torch.zeros(()))

    @property
    def bases(self) -> Bases:
        return self.channels, self.rows, self.columns

    def analysed(self, pictures: Tensor) -> Tensor:
        """Numbers (N, C S S) of pictures less the mean, in the order they are sent in; never in half precision."""
        with torch.autocast(pictures.device.type, enabled=False):
            precise = pictures.to(self.mean)
            return analysed(precise - self.mean, self.bases).flatten(1)[:, self.order]

    def composed(self, numbers: Tensor) -> Tensor:
        """The pictures (N, C, S, S) of such numbers, the mean added."""
        with torch.autocast(numbers.device.type, enabled=False):
            placed = torch.zeros_like(numbers).index_copy(1, self.order, numbers)
            return self.mean + composed(placed.unflatten(1, self.shape), self.bases)

    def filled(self, numbers: Tensor, counts: Tensor, told: Tensor) -> Tensor:
        """All numbers: those of the first `counts` tokens as they are, the others as the net expects them.

        numbers (N, C S S), read only where they were sent; counts (N,); told (N, T K), likewise.
        """
        known = self.known(counts)
        heard = told * (torch.arange(told.shape[1], device=told.device) < (counts * self.told)[:, None])
        start = self.composed(torch.where(known, numbers, torch.zeros_like(numbers)))
        change = self.filling(start - self.mean, counts, heard).to(start)
        return torch.where(known, numbers, self.analysed(start + change))

    def known(self, counts: Tensor) -> Tensor:
        """(N, C S S) which numbers the first `counts` tokens hold."""
        return torch.arange(len(self.order), device=counts.device) < (counts * self.measured)[:, None]

    def practise(self, images: Tensor, encoder: Encoder, counts: Tensor, seed: int) -> Practice:
        told = self.head(encoder(images))
        pictures = self.composed(self.filled(self.analysed(images), counts, told))
        return Practice(pictures[:, None], pictures[:, None] - self.mean, pictures.new_zeros(len(pictures)))

    def begin(self, n: int, like: Tensor) -> tuple[Tensor, Memory]:
        numbers = like.new_zeros(n, len(self.order))
        told = like.new_zeros(n, self.told * self.tokens)
        return self.mean.clamp(0, 1).expand(n, *self.shape).to(like), {"numbers": numbers, "told": told}

    def look(self, images: Tensor, encoder: Encoder, count: int) -> dict[str, Tensor]:
        return {"told": self.head(encoder(images)), "numbers": self.analysed(images)}

    def write(
        self, t: int, images: Tensor, so_far: Tensor, memory: Memory, seen: dict[str, Tensor], encoder: Encoder
    ) -> tuple[Tensor, Tensor]:
        band = slice(t * self.measured, (t + 1) * self.measured)
        left = (seen["numbers"] - memory["numbers"])[:, band]
        left = F.pad(left, (0, self.measured - left.shape[1]))  # pictures of few pixels have fewer numbers
        told = seen["told"][:, t * self.told : (t + 1) * self.told].to(left)
        return torch.cat([left, told], 1), images.new_zeros(len(images), 0)

    def read(self, t: int, numbers: Tensor, beside: Tensor, so_far: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        whole, told = memory["numbers"].clone(), memory["told"].clone()
        band = whole[:, t * self.measured : (t + 1) * self.measured]
        band += numbers[:, : band.shape[1]]
        told[:, t * self.told : (t + 1) * self.told] = numbers[:, self.measured :]
        whole = self.filled(whole, torch.full((len(whole),), t + 1, device=whole.device), told)
        return self.composed(whole) - so_far, {"numbers": whole, "told": told}

    def sizes(self, t: int, step: float) -> Tensor:
        measured, told = self.scale[t].split([self.measured, self.told])
        return torch.cat([torch.full_like(measured, step), (TOLD_STEP * told).clamp(min=1e-12)])

    def clues(self, images: Tensor, encoder: Encoder) -> Tensor:
        ends = torch.arange(1, self.tokens + 1, device=self.mean.device) * self.measured
        power = self.analysed(images).square()
        left = power.sum(1, keepdim=True) - power.cumsum(1)[:, ends.clamp(max=power.shape[1]) - 1]
        return (left.clamp(min=0) / power.shape[1] + 1e-7).log()

    @torch.no_grad()
    def count(self, images: Tensor, step: int, settling: int) -> None:
        """Adds images to what is counted: `settling` steps the basis, then as many the order of its numbers."""
        if step >= 2 * settling:
            return
        x = images.to(self.mean)
        if step < settling:
            self.total += _everyone(x.sum(0))
            self.counted += _everyone(x.new_tensor(len(x)))
            for name, moment in zip(("channels", "rows", "columns"), moments(x), strict=True):
                getattr(self, f"{name}_moment").add_(_everyone(moment))
            if step == settling - 1:
                self.mean.copy_(self.total / self.counted)
                about = moments(self.mean[None])
                for name, moment in zip(("channels", "rows", "columns"), about, strict=True):
                    getattr(self, name).copy_(principal(getattr(self, f"{name}_moment") - self.counted * moment))
        else:
            self.variance += _everyone(analysed(x - self.mean, self.bases).square().sum(0))
            if step == 2 * settling - 1:
                self.order.copy_(self.variance.flatten().argsort(descending=True, stable=True))


def _everyone(value: Tensor) -> Tensor:
    """The sum over all processes."""
    return gathered(value[None]).sum(0)
