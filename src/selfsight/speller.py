"""A speller writes a picture down as a row of tokens, and reads any beginning of that row as a picture.

`Speller` is its frozen description; `build(encoder)` makes a `Spelling`. Pass by pass the writer looks at what is left,
e = x - r, and writes a token; the reader, who sees tokens alone, answers with a change d of the picture so far; and

    r = clamp(r + a d, 0, 1),   a = <e, d> / <d, d>,

the best gain of each picture, by line search. a = 0 changes nothing, and pixels are in [0, 1], so that no token makes
any picture worse, whatever the nets are. The gain is sent with the token, and counted.

Shapes: N pictures, T tokens, D numbers a token, B numbers beside it (means and scales, where such are sent), C
channels, S side.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.batch import Now
from selfsight.encoder import Encoder
from selfsight.maths.gain import CODES, line_search
from selfsight.maths.gather import gathered
from selfsight.maths.rate import laplace_bits, levels, width

GAIN_BITS = (len(CODES) - 1).bit_length()

Memory = dict[str, Tensor]
"""What the reader knows from earlier tokens; every tensor's first dimension is the picture."""


@dataclass(frozen=True)
class Spelt:
    """What was sent, and what is read of it."""

    numbers: Tensor
    """(N, T, D), as the reader gets them."""
    beside: Tensor
    """(N, T, B), likewise."""
    gains: Tensor
    """(N, T), likewise."""
    pictures: Tensor
    """(N, T + 1, C, S, S) in [0, 1]: after 0, 1 ... T tokens."""
    changes: Tensor
    """(N, T, C, S, S): what the reader made of each token, before its gain."""
    estimate: Tensor
    """(N, T) estimated bits of each token's numbers with an entropy coder; zeros where they are not rounded."""

    def errors(self, images: Tensor) -> Tensor:
        """(N, T + 1) mean squared error of each picture after 0 ... T tokens."""
        return (self.pictures.double() - images[:, None].double()).square().flatten(2).mean(2)


@dataclass(frozen=True)
class Practice:
    """What a step of training is taken from: the pictures after some numbers of tokens."""

    pictures: Tensor
    """(N, K, C, S, S), not clamped."""
    changes: Tensor
    """(N, K, C, S, S): what each pass added, before its gain."""
    price: Tensor
    """(N,) the information in the tokens beyond a standard normal's, in nats; 0 where they are not drawn."""


class Spelling(nn.Module, abc.ABC):
    """A built speller. The encoder is passed in and not kept: it is what remains."""

    def __init__(self, tokens: int, numbers: int, beside: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.tokens, self.numbers, self.beside, self.shape = tokens, numbers, beside, shape
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(tokens, numbers))

    @property
    def floats(self) -> int:
        """Floats that are sent for a token: its numbers, what is beside them, and the gain."""
        return self.numbers + self.beside + 1

    @abc.abstractmethod
    def practise(self, images: Tensor, encoder: Encoder, counts: Tensor, seed: int) -> Practice:
        """What training needs, with gradients: images (N, C, S, S) in [0, 1], counts (N,) tokens wanted of each."""

    @abc.abstractmethod
    def begin(self, n: int, like: Tensor) -> tuple[Tensor, Memory]:
        """The picture before any token, (n, C, S, S) in [0, 1], and the reader's memory; type and device of `like`."""

    @abc.abstractmethod
    def look(self, images: Tensor, encoder: Encoder, count: int) -> dict[str, Tensor]:
        """What the writer knows before the first of `count` tokens."""

    @abc.abstractmethod
    def write(
        self, t: int, images: Tensor, so_far: Tensor, memory: Memory, seen: dict[str, Tensor], encoder: Encoder
    ) -> tuple[Tensor, Tensor]:
        """Token t: (N, D) numbers and (N, B) beside them. May change `seen`, which is the writer's own."""

    @abc.abstractmethod
    def read(self, t: int, numbers: Tensor, beside: Tensor, so_far: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Token t -> the change it makes (N, C, S, S), and the memory from here on."""

    @abc.abstractmethod
    def sizes(self, t: int, step: float) -> Tensor:
        """(D,) what each number of token t is rounded to multiples of, so that its rounding counts as much in a picture
        as rounding one number of an orthonormal basis to multiples of `step`."""

    @abc.abstractmethod
    def clues(self, images: Tensor, encoder: Encoder) -> Tensor:
        """(N, F) what tells in one look, without a single pass, how hard pictures are to spell."""

    @torch.no_grad()
    def spell(self, images: Tensor, encoder: Encoder, count: int | None = None, step: float | None = None) -> Spelt:
        """images (N, C, S, S) in [0, 1] -> T = count tokens of each, as many as there are where not given.

        step: round numbers to multiples of this, and gains to codes of three bits; None sends floats.
        """
        count = self.tokens if count is None else count
        self._fits(images, count)
        images = images.to(next(iter(self.parameters())))
        so_far, memory = self.begin(len(images), images)
        seen, sent, pictures = self.look(images, encoder, count), list[tuple[Tensor, ...]](), [so_far]
        for t in range(count):
            numbers, beside = self.write(t, images, so_far, memory, seen, encoder)
            bits = numbers.new_zeros(len(numbers))
            if step is not None:
                numbers, bits = self.rounded(t, numbers, step)
                beside = beside.half().to(beside)
            change, memory = self.read(t, numbers, beside, so_far, memory)
            gain = line_search(images - so_far, change, CODES if step is not None else None)
            gain = torch.where(_nearer(images, advanced(so_far, change, gain), so_far), gain, torch.zeros_like(gain))
            so_far = advanced(so_far, change, gain)
            sent.append((numbers, beside, gain, change, bits))
            pictures.append(so_far)
        columns = [torch.stack(column, 1) for column in zip(*sent, strict=True)]
        return Spelt(columns[0], columns[1], columns[2], torch.stack(pictures, 1), columns[3], columns[4])

    @torch.no_grad()
    def compose(self, numbers: Tensor, beside: Tensor, gains: Tensor) -> Tensor:
        """The pictures (N, T + 1, C, S, S) that a reader makes of what was sent, and of nothing else."""
        so_far, memory = self.begin(len(numbers), numbers)
        pictures = [so_far]
        for t in range(numbers.shape[1]):
            change, memory = self.read(t, numbers[:, t], beside[:, t], so_far, memory)
            so_far = advanced(so_far, change, gains[:, t])
            pictures.append(so_far)
        return torch.stack(pictures, 1)

    def rounded(self, t: int, numbers: Tensor, step: float) -> tuple[Tensor, Tensor]:
        """Numbers (N, D) of token t as they arrive, and the estimate of bits (N,) an entropy coder needs for them."""
        size = self.sizes(t, step)
        most = levels(self.scale[t], size)
        whole = (numbers / size).round().clamp(-most, most)
        return whole * size, laplace_bits(whole, self.scale[t], size, most).sum(1)

    def fixed_bits(self, step: float) -> list[float]:
        """Bits of each token where every number has the fixed width that its spread asks for, gain and all included."""
        widths = [width(levels(self.scale[t], self.sizes(t, step))) for t in range(self.tokens)]
        return [float(one.sum()) + self.overhead for one in widths]

    @property
    def overhead(self) -> int:
        """Bits of a token besides its numbers: means and scales as halves, where sent, and the gain's code."""
        return 16 * self.beside + GAIN_BITS

    @torch.no_grad()
    def calibrate(self, images: Tensor, encoder: Encoder) -> None:
        """How much the numbers of each token vary over all processes' images, which both sides know from then on."""
        modes = {module: module.training for module in (self, encoder)}
        for module in modes:
            module.eval()
        squares = self.spell(images, encoder).numbers.square().mean(0)
        for module, training in modes.items():
            module.train(training)
        self.scale.copy_(gathered(squares[None]).mean(0).sqrt())

    def estimated_bits(self, spelt: Spelt) -> Tensor:
        """(N, T) bits of each token by the estimate for its numbers, and what is beside them and the gain in full."""
        return spelt.estimate + self.overhead

    def _fits(self, images: Tensor, count: int) -> None:
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"this speller was built for {self.shape} pictures, not {tuple(images.shape[1:])}")
        if not 1 <= count <= self.tokens:
            raise ValueError(f"this speller writes 1 to {self.tokens} tokens, not {count}")


class Speller(abc.ABC):
    """Finals are frozen dataclasses in `spellers/`."""

    tokens: int
    """T, at most."""

    @abc.abstractmethod
    def build(self, encoder: Encoder) -> Spelling:
        """A fresh spelling of pictures as the encoder takes them. Raises ValueError where it cannot be built."""

    def settle(self, spelling: Any, images: Tensor, now: Now) -> None:  # noqa: B027
        """What is counted over images rather than learned by a gradient; asked after each step, draws nothing."""


def advanced(so_far: Tensor, change: Tensor, gain: Tensor) -> Tensor:
    """The picture after one more token. Clamping brings it nearer to any picture there is; a gain of 0 keeps it."""
    a = gain[:, None, None, None].to(so_far)
    return torch.where(a == 0, so_far, (so_far + a * change).clamp(0, 1))


def _nearer(images: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """(N,) where `new` is nearer to the images than `old`, in double precision: rounding cannot break the promise."""
    after, before = ((images.double() - one.double()).square().flatten(1).sum(1) for one in (new, old))
    return after < before
