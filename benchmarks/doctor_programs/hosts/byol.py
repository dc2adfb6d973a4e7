"""BYOL on digits: batches come from a generator as one (N, 2, C, H, W) tensor; a momentum teacher that the step moves."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import digits
from doctor_programs.retrieval import found_again

B, DIM, PROJ = 48, 64, 32


def jitter(img: Tensor) -> Tensor:
    """A random affine map (turn, zoom, shift), and another contrast."""
    turn, zoom = math.radians(float(torch.empty(()).uniform_(-15, 15))), float(torch.empty(()).uniform_(0.85, 1.15))
    dx, dy = torch.empty(2).uniform_(-0.15, 0.15).tolist()
    cos, sin = math.cos(turn) * zoom, math.sin(turn) * zoom
    grid = F.affine_grid(torch.tensor([[[cos, -sin, dx], [sin, cos, dy]]]), [1, *img.shape], align_corners=False)
    moved = F.grid_sample(img[None], grid, padding_mode="border", align_corners=False)[0]
    return moved * torch.empty(()).uniform_(0.6, 1.4) + 0.05 * torch.randn(moved.shape)


class Pairs:
    def __init__(self, host: Host, train: bool):
        self.host = host
        self.images = host.pictures(train)[0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        img = self.host.prepare(self.images[i])
        return torch.stack([self.host.augment(img), self.host.augment(img)])


def batches(items: Sequence[Any], shuffle: bool) -> Iterator[Tensor]:
    order = torch.randperm(len(items)) if shuffle else torch.arange(len(items))
    for chosen in order.split(B):
        if len(chosen) == B:
            yield torch.stack([torch.as_tensor(items[i]) for i in chosen.tolist()])


def mlp(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, n_out))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 24, 4, stride=4), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, DIM, 3, stride=2, padding=1), nn.BatchNorm2d(DIM), nn.ReLU(),
            nn.Conv2d(DIM, DIM, 3, stride=2, padding=1), nn.BatchNorm2d(DIM), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.projector = mlp(DIM, PROJ)

    def forward(self, x: Tensor) -> Tensor:
        return self.projector(self.encoder(x))


class BYOL(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = Branch()
        self.predictor = mlp(PROJ, PROJ)
        self.target = copy.deepcopy(self.online).requires_grad_(False)


def forward(model: Any, views: Tensor, stop_gradient: Any = torch.no_grad) -> tuple[Tensor, ...]:
    a, b = views.unbind(1)
    told = model.predictor(model.online(a)), model.predictor(model.online(b))
    with stop_gradient():
        wanted = model.target(b), model.target(a)
    return (*told, *wanted)


def byol_loss(z: tuple[Tensor, ...], _: Batch) -> Tensor:
    p1, p2, t2, t1 = z
    return 4 - 2 * (p1 * t2).sum(1).mean() - 2 * (p2 * t1).sum(1).mean()


@torch.no_grad()
def ema(model: Any, tau: float = 0.95) -> None:
    for t, s in zip(model.target.parameters(), model.online.parameters(), strict=True):
        t.lerp_(s, 1 - tau)
    for t, s in zip(model.target.buffers(), model.online.buffers(), strict=True):
        t.copy_(s)


def train_step(host: Host, model: nn.Module, opt: torch.optim.Optimizer, batch: Batch) -> float:
    loss = host.loss(model, batch)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    if host.follow:
        host.follow(model)
    return loss.item()


HOST = Host(
    name="byol",
    steps=200,
    rate=2e-3,
    encoder="online.encoder",
    head="predictor",
    pictures=digits,
    prepare=lambda img: (img - 0.3) / 0.35,
    augment=jitter,
    dataset=Pairs,
    loader=batches,
    model=BYOL,
    forward=forward,
    activation=lambda z: tuple(F.normalize(part, dim=1) for part in z),
    criterion=byol_loss,
    optimizer=lambda module, rate: torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=rate),
    step=train_step,
    teacher=lambda model: model.target,  # type: ignore[return-value]
    follow=ema,
    embed=lambda model, batch: model.online.encoder(batch[:, 0]),  # type: ignore[union-attr, operator]
    views=Slot(get=lambda x: x.unbind(-4), put=lambda x, views: torch.stack(tuple(views), dim=-4)),
    metric=partial(found_again, augment=jitter, pack=lambda part: torch.stack([part, part], 1), size=B),
    floor=1 / 240,
    good=0.3,
    given=("predict", "criterion", "embed", "views", "dataset", "planned_steps"),
)
