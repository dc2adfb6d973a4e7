"""RotNet: which way up is this photograph? Dictionaries, a Dataset that rotates at each access, batch norm, SGD with a decaying rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from doctor_programs.host import Batch, Host, Slot
from doctor_programs.pictures import photographs

EPOCHS = 10


class Rotated(Dataset[dict[str, Any]]):
    """Each access turns the picture anew."""

    def __init__(self, host: Host, train: bool) -> None:
        self.host = host
        self.photos = host.pictures(train)[0]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.host.augment(self.host.prepare(self.photos[index]))
        rotation = int(torch.randint(4, ()))
        return {"image": torch.rot90(image, rotation, dims=(1, 2)), "rotation": rotation}


def block(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class RotNet(nn.Module):
    """The usual backbone and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            block(3, 16), block(16, 32), block(32, 64), block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.fc = nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.backbone(images))


def crop_and_flip(image: Tensor) -> Tensor:
    """A pad-and-crop, and a mirror half of the time."""
    padded = nn.functional.pad(image[None], (2, 2, 2, 2), mode="reflect")[0]
    top, left = torch.randint(5, (2,)).tolist()
    cropped = padded[:, top : top + 32, left : left + 32]
    return cropped.flip(2) if torch.rand(()) < 0.5 else cropped


def loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
    return DataLoader(items, batch_size=32, shuffle=shuffle, drop_last=True, num_workers=0)  # type: ignore[arg-type]


def optimizer(module: nn.Module, rate: float) -> Optimizer:
    return torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)


def end_of_epoch(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
    for group in optimizer.param_groups:
        start = group.setdefault("initial_lr", group["lr"])
        group["lr"] = start * max(0.0, 1 - (epoch + 1) / EPOCHS)


def accuracy(host: Host, model: nn.Module) -> float:
    torch.manual_seed(0)
    fresh = host.loader(Rotated(host, False), False)
    hits = [host.predict(model, batch).argmax(1).eq(batch["rotation"]).float().mean() for batch in fresh]
    return float(torch.stack(hits).mean())


HOST = Host(
    name="rotation",
    steps=180,
    rate=0.05,
    encoder="backbone",
    head="fc",
    pictures=partial(photographs, each=96, upright=True),
    prepare=lambda photo: (photo - 0.45) / 0.25,
    augment=crop_and_flip,
    dataset=Rotated,
    loader=loader,
    model=RotNet,
    forward=lambda model, batch: model(batch["image"]),
    criterion=lambda logits, batch: nn.functional.cross_entropy(logits, batch["rotation"]),
    optimizer=optimizer,
    between_epochs=end_of_epoch,
    embed=lambda model, batch: model.backbone(batch["image"]),
    target=Slot(get=lambda batch: batch["rotation"], put=lambda batch, turned: {**batch, "rotation": turned}),
    metric=accuracy,
    floor=0.25,
    good=0.5,
    given=("predict", "criterion", "embed", "dataset", "validation", "planned_steps"),
)
