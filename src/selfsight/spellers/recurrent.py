"""Recurrent: the same encoder and decoder again and again, on what the passes before have left over.

"Variable Length Embeddings" (arXiv 2305.09967), the vanilla model: the residual is normalised channel
by channel, encoded, decoded, and scaled back; a ConvLSTM (Shi et al. 2015, "Convolutional LSTM Network") lets the
encoder remember its passes. Here the encoder is the recipe's own; its last map, by a 1 x 1 convolution, is the token.
Means and scales of the residual are sent and counted, which the original does not; every change has its best gain.

Shapes: N pictures, T tokens, C channels, S side, L latent channels, h side of the encoder's last map; D = L h h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.encoder import Encoder
from selfsight.maths.gain import line_search
from selfsight.seeds import generator
from selfsight.speller import Memory, Practice, Speller, Spelling

SPREAD = 0.25
"""About how much the pixels of a photograph deviate; an encoder takes that as 1."""
LEAST = 1e-4
"""No residual is divided by less."""
SLOTS = 16
"""Channels of the memory."""


@dataclass(frozen=True, kw_only=True)
class Recurrent(Speller):
    """Good as the original to hold others against, and as the body of models whose tokens own regions. Poor at any
    rate: one net for all passes spends a token's numbers without heed to what each is worth."""

    tokens: int = 4
    """T, the longest spelling."""
    latent: int = 16
    """L, channels of a token's map."""
    memory: Literal["none", "first", "latent"] = "first"
    """Where the encoder remembers its passes: not at all, behind a first convolution, or in the latent map."""
    input: Literal["residual", "masked image", "masked residual", "image + mask"] = "residual"
    """What the encoder sees. The mask is where something is left: its mean size over channels, at most 1."""
    told_count: bool = False
    """Tell the encoder how many tokens there will be."""
    normalise: bool = True
    """Give every channel of the residual mean 0 and deviation 1, and send both with the token: 2 C floats."""
    variational: bool = False
    """Draw the numbers about what the encoder says; the task's `information` is then their price."""
    searched: bool = True
    """Find the best gain in training as well; else it is 1 there."""
    through: bool = False
    """Let gradients go through what is left over to the passes that left it. Without it a pass hears of those after
    it by the final loss and the memory alone."""
    width: int = 32
    """Channels of the decoder's smallest map; half as many at each doubling, at least 8."""

    def __post_init__(self) -> None:
        if min(self.tokens, self.latent, self.width) < 1:
            raise ValueError(
                f"tokens, latent and width are at least 1, not {self.tokens}, {self.latent} and {self.width}"
            )

    def build(self, encoder: Encoder) -> Spelling:
        return Passes(self, encoder)


class Passes(Spelling):
    """What stands around the encoder: eyes, memory, the token's convolution, and the decoder."""

    def __init__(self, given: Recurrent, encoder: Encoder) -> None:
        channels, size = encoder.channels, encoder.size
        training = encoder.training
        with torch.no_grad():
            seen = encoder.eval().with_map(torch.zeros(1, channels, size, size))[1]
        encoder.train(training)
        self.side, latent = seen.shape[-1], given.latent
        super().__init__(
            given.tokens, latent * self.side**2, 2 * channels if given.normalise else 0, (channels, size, size)
        )
        self.given = given
        self.eyes = nn.Conv2d(channels + 1, channels, 1) if given.input == "image + mask" else None
        self.latent = nn.Conv2d(seen.shape[1], latent * (2 if given.variational else 1), 1)
        inside = {"first": channels, "latent": latent, "none": 0}[given.memory]
        self.memory = ConvLSTM(inside) if inside else None
        self.wanted = nn.Embedding(given.tokens + 1, latent) if given.told_count else None
        doublings = max(1, math.ceil(math.log2(size / self.side)))
        widths = [max(8, given.width // 2**i) for i in range(doublings + 1)]
        self.entry = nn.Conv2d(latent, widths[0], 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(1, b), nn.ReLU()) for a, b in pairwise(widths)
        )
        self.exit = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def practise(self, images: Tensor, encoder: Encoder, counts: Tensor, seed: int) -> Practice:
        n, most = len(images), int(counts.max())
        so_far, memory = self.begin(n, images)
        seen, pictures, changes = self.look(images, encoder, most), list[Tensor](), list[Tensor]()
        seen["count"] = counts
        price, draws = images.new_zeros(n), generator("numbers", seed)
        for t in range(most):
            numbers, beside = self.write(t, images, so_far, memory, seen, encoder)
            if self.given.variational:
                spread = seen["spread"].flatten(1)
                nats = (numbers.square() + spread.exp() - 1 - spread).sum(1) / 2
                price = price + torch.where(t < counts, nats, torch.zeros_like(nats))
                noise = torch.randn(numbers.shape, generator=draws).to(numbers)
                numbers = numbers + noise * (spread / 2).exp()
            change, memory = self.read(t, numbers, beside, so_far, memory)
            gain = line_search(images - so_far, change) if self.given.searched else change.new_ones(n)
            so_far = so_far + gain[:, None, None, None].to(change) * change
            pictures.append(so_far)
            changes.append(change)
        short = self.tokens - most  # as many as there can be, whatever was drawn
        return Practice(
            torch.stack(pictures + pictures[-1:] * short, 1), torch.stack(changes + changes[-1:] * short, 1), price
        )

    def begin(self, n: int, like: Tensor) -> tuple[Tensor, Memory]:
        return torch.full((n, *self.shape), 0.5, dtype=like.dtype, device=like.device), {}

    def look(self, images: Tensor, encoder: Encoder, count: int) -> dict[str, Tensor]:
        return {"count": torch.full((len(images),), count, device=images.device)}

    def write(
        self, t: int, images: Tensor, so_far: Tensor, memory: Memory, seen: dict[str, Tensor], encoder: Encoder
    ) -> tuple[Tensor, Tensor]:
        left = images - (so_far if self.given.through else so_far.detach())
        beside = images.new_zeros(len(images), 0)
        shown = left
        if self.given.normalise:
            mean, spread = left.mean((2, 3)), left.std((2, 3), correction=0) + LEAST
            beside = torch.cat([mean, spread], 1)
            shown = (left - mean[:, :, None, None]) / spread[:, :, None, None] * SPREAD
        shown = self._shown(images, left, shown)
        if self.memory is not None and self.given.memory == "first":
            shown = shown + self.memory(shown, seen)
        latent = self.latent(encoder.with_map(shown + 0.5)[1])
        if self.given.variational:
            latent, seen["spread"] = latent.chunk(2, 1)
        if self.wanted is not None:
            latent = latent + self.wanted(seen["count"])[:, :, None, None]
        if self.memory is not None and self.given.memory == "latent":
            latent = latent + self.memory(latent, seen)
        return latent.flatten(1), beside

    def _shown(self, images: Tensor, left: Tensor, residual: Tensor) -> Tensor:
        """What the encoder is given, about 0."""
        if self.given.input == "residual":
            return residual
        size = left.abs().mean(1, keepdim=True)
        mask = size / size.amax((2, 3), keepdim=True).clamp(min=LEAST)
        if self.eyes is not None:
            return self.eyes(torch.cat([images - 0.5, mask - 0.5], 1))
        return mask * (residual if self.given.input == "masked residual" else images - 0.5)

    def read(self, t: int, numbers: Tensor, beside: Tensor, so_far: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        x = self.entry(numbers.unflatten(1, (-1, self.side, self.side)))
        for number, stage in enumerate(self.stages, 1):
            last = number == len(self.stages)
            x = stage(F.interpolate(x, self.shape[1:] if last else (2 * x.shape[-2], 2 * x.shape[-1])))
        change = self.exit(x)
        if self.given.normalise:
            mean, spread = beside[:, :, None, None].chunk(2, 1)
            return change * spread + mean, memory
        return SPREAD * change, memory

    def sizes(self, t: int, step: float) -> Tensor:
        return (self.scale[t] * step / SPREAD).clamp(min=1e-12)

    def clues(self, images: Tensor, encoder: Encoder) -> Tensor:
        energy = images.flatten(1).var(1, keepdim=True) + LEAST**2
        return torch.cat([encoder(images), energy.log()], 1)


class ConvLSTM(nn.Module):
    """Gates by convolutions; its state is kept by the writer and begins at 0 for each picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(channels + SLOTS, 4 * SLOTS, 3, padding=1)
        self.out = nn.Conv2d(SLOTS, channels, 3, padding=1)

    def forward(self, x: Tensor, seen: dict[str, Tensor]) -> Tensor:
        """x (N, channels, h, w) -> what is remembered, of the same shape; `seen` takes the state along."""
        blank = x.new_zeros(len(x), SLOTS, *x.shape[-2:])
        hidden, cell = seen.get("hidden", blank), seen.get("cell", blank)
        into, forget, out, what = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(into) * torch.tanh(what)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        seen["hidden"], seen["cell"] = hidden, cell
        return self.out(hidden)
