"""The journal's variable-length embedding: a mask of what is still missing, a code of what the mask shows, three times, summed up.

Batches are lists of one tensor. The picture leaves through a sigmoid; each code is drawn from a Gaussian held by a KL term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from doctor_programs.host import Batch, Host
from doctor_programs.pictures import shapes

SLOTS, CODE = 3, 16


class MaskedCodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.masker = nn.Sequential(nn.Conv2d(6, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 1, 3, 1, 1))
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 24, 4, 4),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 2 * CODE),
        )
        self.decoder = nn.Sequential(
            nn.Linear(CODE, 32 * 16), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> picture before the sigmoid, masks (N, K, H, W), KL of each code number (N, K, CODE)"""
        logits, masks, kl = torch.zeros_like(x), [], []
        for _ in range(SLOTS):
            missing = x - torch.sigmoid(logits)
            mask = torch.sigmoid(F.interpolate(self.masker(torch.cat([x, missing], 1)), scale_factor=4.0))
            mean, logvar = self.encoder(x * mask).chunk(2, dim=1)
            z = mean + torch.randn_like(mean) * (logvar / 2).exp() if self.training else mean
            logits = logits + mask * self.decoder(z)
            masks.append(mask[:, 0])
            kl.append((mean**2 + logvar.exp() - logvar - 1) / 2)
        return logits, torch.stack(masks, 1), torch.stack(kl, 1)


def elbo(told: tuple[Tensor, ...], batch: Batch, gather: Callable[[Tensor], Tensor] = torch.mean) -> Tensor:
    picture, _, kl = told
    return F.mse_loss(picture, batch[0]) + 1e-3 * gather(kl)


def use_of_masks(masks: Tensor) -> Tensor:
    """The share of masks (N, K, H, W) that are neither full nor empty."""
    cover = masks.mean((2, 3))
    return ((cover > 0.02) & (cover < 0.98)).float().mean()


def explained(host: Host, model: Any) -> float:
    """R^2 of unseen pictures from their masked codes alone, times the share of masks that are neither full nor empty."""
    scores = []
    for batch in host.loader(host.dataset(host, False), False):
        logits, masks, _ = model(batch[0])
        error = F.mse_loss(host.activation((logits, masks))[0], batch[0])
        scores.append((1 - error / batch[0].var()) * use_of_masks(masks))
    return float(torch.stack(scores).mean())


def load(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=32, shuffle=shuffle, drop_last=True)  # type: ignore[arg-type]


HOST = Host(
    name="masks",
    steps=200,
    rate=2e-3,
    encoder="encoder",
    head="decoder",
    pictures=shapes,
    dataset=lambda host, train: TensorDataset(
        torch.stack([host.augment(host.prepare(x)) for x in host.pictures(train)[0]])
    ),
    loader=load,
    model=MaskedCodes,
    forward=lambda model, batch: model(batch[0]),
    activation=lambda out: (torch.sigmoid(out[0]), *out[1:]),
    criterion=elbo,
    optimizer=lambda module, rate: torch.optim.Adam(module.parameters(), lr=rate),
    embed=lambda model, batch: model.encoder(batch[0])[:, :CODE],  # type: ignore[operator, index]
    metric=explained,
    floor=0.0,
    good=0.35,
    given=("predict", "criterion", "embed", "dataset", "validation", "planned_steps"),
)
