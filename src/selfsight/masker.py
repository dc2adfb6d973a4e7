"""A small convolutional net that draws a mask, or a picture, at the side of what it sees; with a memory, where asked.

Shapes: N images, M channels given, S side, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, Tensor]


class Block(nn.Module):
    """x + conv(relu(conv(x))), normalised over each image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class ConvMemory(nn.Module):
    """A convolutional LSTM of one layer (Shi et al. 2015, without peepholes)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)

    def forward(self, x: Tensor, memory: Memory | None) -> Memory:
        """x (N, W, S, S) -> what it says, (N, W, S, S), and its cell."""
        said, cell = memory if memory is not None else (torch.zeros_like(x), torch.zeros_like(x))
        taken, kept, told, new = self.gates(torch.cat([x, said], 1)).chunk(4, 1)
        cell = (kept + 1).sigmoid() * cell + taken.sigmoid() * new.tanh()
        return told.sigmoid() * cell.tanh(), cell


class Masker(nn.Module):
    """Convolution, memory, residual blocks, convolution."""

    def __init__(self, given: int, width: int, blocks: int, remembers: bool, out: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, width, 3, padding=1)
        self.memory = ConvMemory(width) if remembers else None
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.last = nn.Conv2d(width, out, 3, padding=1)

    def forward(self, x: Tensor, memory: Memory | None) -> tuple[Tensor, Memory | None]:
        """(N, M, S, S) and the memory of the call before -> (N, out, S, S) and the memory."""
        seen = self.first(x)
        if self.memory is not None:
            memory = self.memory(seen, memory)
            seen = memory[0]
        return self.last(self.blocks(seen).relu()), memory
