"""Masked pictures, MAE in miniature: three quarters of the 4 x 4 patches are greyed out by the Dataset, a conv net fills them in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from doctor_programs.host import Batch, Host
from doctor_programs.pictures import photographs

PATCH, GRID = 4, 8


class MaskedPhotos(Dataset[dict[str, Tensor]]):
    def __init__(self, host: Host, train: bool) -> None:
        self.host, self.photos = host, host.pictures(train)[0]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        full = self.host.augment(self.host.prepare(self.photos[index]))
        hidden = torch.zeros(GRID * GRID)
        hidden[torch.randperm(GRID * GRID)[: GRID * GRID * 3 // 4]] = 1
        hidden = hidden.view(1, GRID, GRID).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
        return {"seen": full * (1 - hidden), "hidden": hidden, "full": full}


class Residual(nn.Module):
    def __init__(self, c: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(4, c), nn.GELU(), nn.Conv2d(c, c, 3, padding=dilation, dilation=dilation)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Filler(nn.Module):
    def __init__(self, c: int = 48) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(4, c, PATCH, PATCH), *(Residual(c, d) for d in (1, 2, 1)))
        self.decoder = nn.Sequential(
            nn.GroupNorm(4, c), nn.GELU(), nn.Conv2d(c, 3 * PATCH**2, 1), nn.PixelShuffle(PATCH)
        )

    def forward(self, seen: Tensor, hidden: Tensor) -> Tensor:
        return self.decoder(self.encoder(torch.cat([seen, hidden], 1)))


def masked_mse(filled: Tensor, batch: Batch) -> Tensor:
    return ((filled - batch["full"]) ** 2 * batch["hidden"]).sum() / (3 * batch["hidden"].sum())


def clip_step(host: Host, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    loss = host.loss(model, batch)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def data(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=40, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


def explained(host: Host, model: nn.Module) -> float:
    """R^2 over the hidden pixels of unseen windows."""
    torch.manual_seed(0)
    wrong = spread = 0.0
    for batch in data(MaskedPhotos(host, False), False):
        wrong += float(masked_mse(host.predict(model, batch), batch))
        spread += float(batch["full"].var())
    return 1 - wrong / spread


HOST = Host(
    name="masked",
    steps=200,
    rate=2e-3,
    encoder="encoder",
    head="decoder",
    pictures=photographs,
    prepare=lambda photo: (photo - 0.45) / 0.25,
    augment=lambda photo: photo.flip(-1) if torch.rand(()) < 0.5 else photo,
    dataset=MaskedPhotos,
    loader=data,
    model=Filler,
    forward=lambda model, batch: model(batch["seen"], batch["hidden"]),
    criterion=masked_mse,
    optimizer=lambda module, rate: torch.optim.AdamW(module.parameters(), lr=rate, betas=(0.9, 0.95)),
    step=clip_step,
    embed=lambda model, batch: model.encoder(torch.cat([batch["full"], 0 * batch["hidden"]], 1)).mean((2, 3)),  # type: ignore[operator]
    metric=explained,
    floor=0.0,
    good=0.4,
    given=("predict", "criterion", "embed", "dataset", "validation", "planned_steps"),
)
