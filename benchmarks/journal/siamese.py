"""The journal's network and ours, as parts that can be put together in any way.

Shapes: N examples, K candidates, V = 1 + K pictures (the asked one first), C channels, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from selfsight.comparison import Comparison
from selfsight.encoders import Small

Activation = Callable[[], nn.Module]


class ConcatPool(nn.Module):
    """Mean and maximum side by side: (N, C, H, W) -> (N, 2 C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), activation(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.after = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x + self.body(x))


def journals_encoder(width: int = 16, activation: Activation = nn.Mish, pool: nn.Module | None = None) -> nn.Module:
    """The journal's small encoder: strided convolutions, residual blocks, Mish, concat pooling. D = 8 width."""
    layers: list[nn.Module] = []
    for given, wanted in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [
            nn.Conv2d(given, wanted, 3, 2, 1),
            nn.BatchNorm2d(wanted),
            activation(),
            Residual(wanted, activation),
        ]
    return nn.Sequential(*layers, pool or ConcatPool())


def our_encoder(width: int = 16, size: int = 32) -> nn.Module:
    """selfsight's small encoder. D = 8 width."""
    return Small(width=width).build(3, size).train().requires_grad_(True)


class JournalsHead(nn.Module):
    """Products of features into a perceptron that normalises over batch and features, per slot of the candidates.

    squashed: ends with a sigmoid, as the journal's head did while its trainer took another.
    """

    def __init__(self, dim: int, candidates: int, slots_mixed: bool = True, squashed: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(dim, 128), nn.Linear(128, 1)
        self.norm = nn.BatchNorm1d(candidates) if slots_mixed else nn.LayerNorm(128)
        self.squashed, self.bend = squashed, nn.Mish()

    def forward(self, asked: Tensor, candidates: Tensor) -> Tensor:
        scores = self.last(self.bend(self.norm(self.first(asked.unsqueeze(1) * candidates))))[..., 0]
        return scores.sigmoid() if self.squashed else scores


class Cosine(nn.Module):
    """Likeness itself as the answer, as on 8/31, or over a temperature, as NT-Xent has it."""

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.scale = 1 / temperature

    def forward(self, asked: Tensor, candidates: Tensor) -> Tensor:
        return self.scale * nn.functional.cosine_similarity(asked.unsqueeze(1), candidates, dim=2)


class Products(nn.Module):
    """Inner products as they are: under a softmax, the logits of the N-pair loss (Sohn 2016, equation 6)."""

    def forward(self, asked: Tensor, candidates: Tensor) -> Tensor:
        return (asked.unsqueeze(1) * candidates).sum(2)


class Siamese(nn.Module):
    """One encoder for all pictures, called once for all of them or once for each place, and a head."""

    def __init__(self, encoder: nn.Module, head: nn.Module, calls: str = "one") -> None:
        super().__init__()
        self.encoder, self.head, self.calls = encoder, head, calls

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 1 + K, C, H, W) -> (N, K)"""
        if self.calls == "one":
            z = self.encoder(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        else:
            z = torch.stack([self.encoder(view) for view in pictures.unbind(1)], 1)
        return self.head(z[:, 0], z[:, 1:])


def ours(candidates: int = 3, width: int = 16) -> Siamese:
    """selfsight's encoder and comparison."""
    return Siamese(our_encoder(width), Comparison().build(8 * width))


def journals(candidates: int = 3, width: int = 16, **head: bool) -> Siamese:
    """The journal's encoder and head."""
    return Siamese(journals_encoder(width), JournalsHead(8 * width, candidates, **head))
