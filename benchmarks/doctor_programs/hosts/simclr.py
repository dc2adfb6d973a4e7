"""SimCLR with NT-Xent at T = .2 on windows of photographs: two views as a list, an encoder and a projector called by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import photographs
from doctor_programs.retrieval import found_again

BATCH_SIZE = 48


class TwoCrops(Dataset[list[Tensor]]):
    def __init__(self, host: Host, train: bool) -> None:
        self.imgs, _ = host.pictures(train)
        self.transform = lambda img: host.augment(host.prepare(img))

    def __getitem__(self, i: int) -> list[Tensor]:
        return [self.transform(self.imgs[i]), self.transform(self.imgs[i])]

    def __len__(self) -> int:
        return len(self.imgs)


def random_view(img: Tensor, scale: tuple[float, float] = (0.5, 1.0)) -> Tensor:
    """Random resized crop, mirror, and another brightness and contrast for each channel."""
    area = float(torch.empty(()).uniform_(*scale))
    side = max(2, round(32 * area**0.5))
    top, left = torch.randint(32 - side + 1, (2,)).tolist()
    crop = img[:, top : top + side, left : left + side]
    view = F.interpolate(crop[None], size=(32, 32), mode="bilinear", align_corners=False)[0]
    if torch.rand(()) < 0.5:
        view = view.flip(-1)
    return view * torch.empty(3, 1, 1).uniform_(0.7, 1.3) + torch.empty(3, 1, 1).uniform_(-0.4, 0.4)


def random_views(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, BATCH_SIZE, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


class SimCLR(nn.Module):
    def __init__(self, dim: int = 64, projection: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 24, 4, 4, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True)]
        for i, o in ((24, dim), (dim, dim)):
            layers += [nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, projection))


def project(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    v1, v2 = batch
    return model.projector(model.encoder(v1)), model.projector(model.encoder(v2))


def normalised(z: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return F.normalize(z[0], dim=1), F.normalize(z[1], dim=1)


def nt_xent(z: tuple[Tensor, Tensor], batch: Batch, temperature: float = 0.2) -> Tensor:
    both = torch.cat(z)
    n = len(z[0])
    sim = both @ both.t() / temperature
    sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))


HOST = Host(
    name="simclr",
    steps=160,
    rate=2e-3,
    encoder="encoder",
    head="projector",
    pictures=partial(photographs, share=0.4),
    prepare=lambda img: (img - 0.45) / 0.25,
    augment=random_view,
    dataset=TwoCrops,
    loader=random_views,
    model=SimCLR,
    forward=project,
    activation=normalised,
    criterion=nt_xent,
    optimizer=lambda module, rate: torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-4),
    embed=lambda model, batch: model.encoder(batch[0]),
    views=Slot(get=lambda batch: (batch[0], batch[1]), put=lambda batch, views: list(views)),
    metric=partial(found_again, augment=random_view, pack=lambda part: [part, part], size=BATCH_SIZE),
    floor=1 / 240,
    good=0.25,
    given=("predict", "criterion", "embed", "views", "dataset", "planned_steps"),
)
