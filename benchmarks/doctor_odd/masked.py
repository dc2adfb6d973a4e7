"""Healthy transformers that look sick: a masked auto-encoder whose loss stays near 1, and a net with parameters nobody uses.

Shapes: N pictures, T patches, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_odd.odd import Odd
from doctor_odd.pictures import digits, photographs
from selfsight.program import Program


class Block(nn.Module):
    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


# H09: MAE (He et al. 2022): three patches of four hidden, targets normalised patch by patch.


def patchify(images: Tensor, size: int = 4) -> Tensor:
    """(N, 3, H, W) -> (N, T, 3 size^2)."""
    return F.unfold(images, size, stride=size).transpose(1, 2)


class MaskedAutoencoder(nn.Module):
    def __init__(self, patches: int = 16, pixels: int = 48, dim: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(pixels, dim)
        self.encoder_position = nn.Parameter(0.02 * torch.randn(1, patches, dim))
        self.decoder_position = nn.Parameter(0.02 * torch.randn(1, patches, dim))
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.encoder = nn.Sequential(Block(dim), nn.LayerNorm(dim))
        self.decoder = nn.Sequential(Block(dim), nn.LayerNorm(dim))
        self.to_pixels = nn.Linear(dim, pixels)

    def encode(self, patches: Tensor, keep: Tensor) -> Tensor:
        x = self.embed(patches) + self.encoder_position
        return self.encoder(x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2])))

    def forward(self, images: Tensor, ratio: float = 0.75) -> tuple[Tensor, Tensor]:
        patches = patchify(images)
        n, t, _ = patches.shape
        order = torch.rand(n, t).argsort(1)
        keep = order[:, : round(t * (1 - ratio))]
        z = self.encode(patches, keep)
        whole = self.mask_token.expand(n, t, -1).scatter(1, keep[:, :, None].expand_as(z), z)
        mask = torch.ones(n, t).scatter(1, keep, 0.0)
        return self.to_pixels(self.decoder(whole + self.decoder_position)), mask


def masked_error(prediction: tuple[Tensor, Tensor], images: Tensor) -> Tensor:
    guess, mask = prediction
    target = patchify(images)
    target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    return ((guess - target).square().mean(-1) * mask).sum() / mask.sum()


def masked() -> Program:
    pictures = photographs()

    def passes() -> Iterator[dict[str, Tensor]]:
        for rows in torch.randperm(len(pictures)).split(64):
            images = pictures[rows]
            yield {"image": torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, images, images.flip(3))}

    return Program(
        batches=passes,
        model=MaskedAutoencoder,
        loss=lambda model, batch: masked_error(model(batch["image"]), batch["image"]),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
        predict=lambda model, batch: model(batch["image"]),
        criterion=lambda prediction, batch: masked_error(prediction, batch["image"]),
        embed=lambda model, batch: model.encode(
            patchify(batch["image"]), torch.arange(16).expand(len(batch["image"]), -1)
        ).mean(1),
        planned_steps=4000,
    )


def explained(model: nn.Module) -> float:
    """The share of the hidden, normalised pixels' variance that is told rightly on held-out photographs."""
    held = photographs(count=120, held_out=True)
    losses = torch.stack([masked_error(model(held), held) for _ in range(4)])
    return 1 - losses.mean().item()


# H15: one set of weights for two trainings: what the other one needs is there, in the optimizer, and idle.


class Ours(nn.Module):
    """Made for masked pretraining and for naming digits; here it names digits."""

    def __init__(self, dim: int = 48) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, dim, 2, 2)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 65, dim))  # up to 8 x 8 patches; 4 x 4 are in use
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList([Block(dim)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)
        self.aux_head = nn.Linear(dim, 10)
        self.decoder = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 4))

    def forward(self, x: Tensor, hidden: Tensor | None = None, auxiliary: bool = False) -> Any:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if hidden is not None:
            x = torch.where(hidden[:, :, None], self.mask_token, x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + self.pos_embed[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if hidden is not None:
            return self.decoder(x[:, 1:])
        if auxiliary:
            return self.head(x[:, 0]), self.aux_head(x[:, 1:].mean(1))
        return self.head(x[:, 0])


def unused_parameters() -> Program:
    images, labels, held_images, held_labels = digits()
    data = TensorDataset(images, labels)
    return Program(
        batches=lambda: DataLoader(data, batch_size=64, shuffle=True),
        model=Ours,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch[1]),
        dataset=data,
        validation=lambda: DataLoader(TensorDataset(held_images, held_labels), batch_size=250),
        planned_steps=600,
    )


def accuracy(model: nn.Module) -> float:
    _, _, images, labels = digits()
    return (model(images).argmax(1) == labels).float().mean().item()


ODD = (
    Odd(
        id="H09",
        name="masked patches, normalised",
        program=masked,
        why="The loss starts at 1 and stays near it, for each patch's own mean and contrast are taken out of the question.",
        metric=explained,
        baseline=0.1,
        steps=50,
    ),
    Odd(
        id="H15",
        name="parameters unused by design",
        program=unused_parameters,
        why="A mask token, a second head, a decoder and most positions never get a gradient: they serve another training.",
        metric=accuracy,
        baseline=0.5,
        steps=80,
    ),
)
