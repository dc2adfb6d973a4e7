"""The journals' siamese: shown a mixture and the two pictures it is made of, how much of the first is in it? Sigmoid and MSE.

The items are windows over the list of pictures: picture i is mixed with one that lies half the list away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import photographs

Item = tuple[tuple[Tensor, Tensor, Tensor], Tensor]


class MixtureDS(Dataset[Item]):
    """((mixture, a, b), share of a)"""

    def __init__(self, host: Host, train: bool = True) -> None:
        self.host = host
        self.x, _ = host.pictures(train)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Item:
        other = (i + len(self.x) // 2 + int(torch.randint(64, (1,)))) % len(self.x)
        a, b = (self.host.augment(self.host.prepare(self.x[j])) for j in (i, other))
        w = torch.rand(())
        return (w * a + (1 - w) * b, a, b), w


class Encoder(nn.Module):
    def __init__(self, d: int = 48) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 4, stride=4)
        self.conv2 = nn.Conv2d(24, d, 3, stride=2, padding=1)
        self.act = nn.LeakyReLU(0.1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2):
            x = self.act(conv(x))
        return self.pool(x).flatten(1)


class Unmixer(nn.Module):
    """One encoder for all the pictures, then a head over their features side by side."""

    def __init__(self, encoder: nn.Module, d: int = 48, n: int = 3) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(n * d, 64), nn.LeakyReLU(0.1), nn.Linear(64, 1))

    def encode(self, xb: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.encoder(x) for x in xb], dim=1)  # (bs, n, d)

    def forward(self, *xb: Tensor) -> Tensor:
        return self.head(self.encode(xb).flatten(1))


def get_dl(ds: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(ds, batch_size=48, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


def explained(host: Host, model: nn.Module) -> float:
    """R^2 of the share on pictures never trained on."""
    torch.manual_seed(0)
    said, true = [], []
    for batch in host.loader(MixtureDS(host, False), False):
        said.append(host.predict(model, batch).reshape(len(batch[1]), -1)[:, 0])
        true.append(batch[1])
    errors = torch.cat(said) - torch.cat(true)
    return 1 - float(errors.square().mean() / torch.cat(true).var())


HOST = Host(
    name="unmixing",
    steps=200,
    rate=2e-3,
    encoder="encoder",
    head="head",
    pictures=photographs,
    prepare=lambda x: (x - 0.45) / 0.25,
    dataset=MixtureDS,
    loader=get_dl,
    model=lambda: Unmixer(Encoder()),
    forward=lambda net, batch: net(*batch[0]),
    activation=torch.sigmoid,
    criterion=lambda y_hat, batch: nn.functional.mse_loss(y_hat[:, 0], batch[1]),
    optimizer=lambda module, rate: torch.optim.Adam(module.parameters(), lr=rate),
    embed=lambda net, batch: net.encoder(batch[0][1]),
    target=Slot(get=lambda batch: batch[1], put=lambda batch, w: (batch[0], w)),
    metric=explained,
    floor=0.0,
    good=0.5,
    given=("predict", "criterion", "embed", "dataset", "validation", "planned_steps"),
)
