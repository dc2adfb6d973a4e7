"""VICReg on coloured shapes: the loss is one closure over the batch, with indices nobody uses in the third place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import shapes
from doctor_programs.retrieval import found_again


def make_backbone() -> nn.Sequential:
    def stage(i: int, o: int, k: int, s: int) -> list[nn.Module]:
        return [nn.Conv2d(i, o, k, s, padding=(k - s + 1) // 2, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    return nn.Sequential(*stage(3, 24, 4, 4), *stage(24, 64, 3, 2), nn.Flatten(), nn.Linear(64 * 16, 64))


def make_model() -> nn.ModuleDict:
    expander = nn.Sequential(nn.ReLU(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128))
    return nn.ModuleDict({"backbone": make_backbone(), "expander": expander})


class Views:
    def __init__(self, pictures: Tensor, view: Callable[[Tensor], Tensor]):
        self.pictures, self.view = pictures, view

    def __len__(self) -> int:
        return self.pictures.shape[0]

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor, int]:
        return self.view(self.pictures[n]), self.view(self.pictures[n]), n


def make_views(host: Host, train: bool) -> Views:
    return Views(host.pictures(train)[0], lambda picture: host.augment(host.prepare(picture)))


def shift_and_tint(picture: Tensor) -> Tensor:
    """Wrapped shift by up to three pixels, mirror, a tint, and noise."""
    dy, dx = torch.randint(-3, 4, (2,)).tolist()
    picture = picture.roll((dy, dx), (1, 2))
    if torch.rand(()) < 0.5:
        picture = picture.flip(2)
    return picture + 0.1 * torch.randn(3, 1, 1) + 0.05 * torch.randn(picture.shape)


def loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=60, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


def vicreg(z: tuple[Tensor, Tensor], _: Batch, lam: float = 25.0, mu: float = 25.0, nu: float = 1.0) -> Tensor:
    def hinge(x: Tensor) -> Tensor:
        return torch.relu(1 - (x.var(dim=0) + 1e-4).sqrt()).mean()

    def off_diagonal(x: Tensor) -> Tensor:
        c = torch.cov(x.T)
        return (c.square().sum() - c.diagonal().square().sum()) / x.shape[1]

    a, b = z
    invariance = (a - b).square().mean()
    return lam * invariance + mu * (hinge(a) + hinge(b)) / 2 + nu * (off_diagonal(a) + off_diagonal(b))


HOST = Host(
    name="vicreg",
    steps=180,
    rate=2e-3,
    encoder="backbone",
    head="expander",
    pictures=shapes,
    prepare=lambda picture: picture * 2 - 1,
    augment=shift_and_tint,
    dataset=make_views,
    loader=loader,
    model=make_model,
    forward=lambda m, batch: tuple(m["expander"](m["backbone"](x)) for x in batch[:2]),  # type: ignore[index, operator]
    criterion=vicreg,
    optimizer=lambda module, rate: torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], rate),
    embed=lambda m, batch: m["backbone"](batch[0]),  # type: ignore[index, operator]
    views=Slot(get=lambda batch: (batch[0], batch[1]), put=lambda batch, views: (*views, batch[2])),
    metric=partial(found_again, augment=shift_and_tint, pack=lambda part: (part, part, None), size=60),
    floor=1 / 240,
    good=0.5,
    given=("embed", "views", "dataset"),
)
