"""How others learn from a folder by SimCLR, each as its documentation shows it and in an environment of its own.

What `speed_loops.py` asks: the same encoder, projector sizes, temperature, batch and changes to views; precision,
optimizer, loading and loop are theirs. Steps are told by a hook that torch calls after every optimizer's step.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH, SIDE, HIDDEN, PROJECTION, TEMPERATURE = 128, 64, 512, 128, 0.5
LEFT_OUT = 2
"""First steps that are not counted: they choose kernels and start workers."""
FOREVER = 100_000
"""Epochs: the clock ends a training."""

Told = tuple[float, list[float]]
"""When the first step ended, by the clock of all processes; and the ends of all steps, by a clock of its own."""


def learner(name: str) -> Any:
    """selfsight's encoder of that name, to be trained."""
    from selfsight.encoders import Small, Timm

    made = Small() if name == "small" else Timm(name="resnet18")
    return made.build(3, SIDE).train().requires_grad_(True)


class Enough(Exception):
    """The seconds are over."""


class Clock:
    """Times steps, and raises Enough when those that count have lasted so long."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.first, self.ends = seconds, 0.0, list[float]()

    def tick(self, *_: Any) -> None:
        self.first = self.first or time.time()
        self.ends.append(time.perf_counter())
        if len(self.ends) > LEFT_OUT + 1 and self.ends[-1] - self.ends[LEFT_OUT] > self.seconds:
            raise Enough


@contextlib.contextmanager
def clocked(seconds: float) -> Iterator[Clock]:
    """Of whatever optimizer steps within."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    clock = Clock(seconds)
    hook = register_optimizer_step_post_hook(clock.tick)
    try:
        with contextlib.suppress(Enough):
            yield clock
    finally:
        hook.remove()


def lightly(words: Any) -> Told:
    """Its Lightning example."""
    import pytorch_lightning as pl
    import torch
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = learner(words.encoder)
            self.head = SimCLRProjectionHead(self.backbone.dim, HIDDEN, PROJECTION)
            self.criterion = NTXentLoss(temperature=TEMPERATURE)

        def training_step(self, batch: Any, _: int) -> Any:
            first, second = batch[0]
            return self.criterion(self.head(self.backbone(first)), self.head(self.backbone(second)))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.06)

    data = LightlyDataset(words.folder, transform=SimCLRTransform(input_size=SIDE))
    loader: Any = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=words.workers
    )
    with clocked(words.seconds) as clock:
        _trainer(pl).fit(Model(), loader)
    return clock.first, clock.ends


def lightly_train(words: Any) -> Told:
    """Its `pretrain`, of the same timm network, whose strides selfsight has fitted to the side."""
    import lightly_train as library

    with tempfile.TemporaryDirectory() as scratch, clocked(words.seconds) as clock:
        library.pretrain(
            out=Path(scratch) / "run", data=words.folder, model=learner(words.encoder).net, method="simclr",
            method_args={"hidden_dim": HIDDEN, "output_dim": PROJECTION, "temperature": TEMPERATURE},
            batch_size=BATCH, epochs=FOREVER, num_workers=words.workers, devices=1, accelerator="cpu",
            transform_args={"image_size": (SIDE, SIDE)}, callbacks={"model_checkpoint": None},
        )  # fmt: skip
    return clock.first, clock.ends


def stable_pretraining(words: Any) -> Told:
    """Its SimCLR example: torchvision's changes within workers, Lightning's loop, LARS."""
    import lightning as pl
    import stable_pretraining as library
    import torch
    from stable_pretraining import backbone, data, forward, losses
    from stable_pretraining.data import transforms
    from torchvision.datasets import ImageFolder

    def view() -> Any:
        return transforms.Compose(
            transforms.RGB(),
            transforms.RandomResizedCrop((SIDE, SIDE), scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(p=0.5),
            transforms.ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.PILGaussianBlur(sigma=(0.1, 2.0), p=0.5),
            transforms.ToImage(**data.static.ImageNet),
        )

    images = data.FromTorchDataset(
        ImageFolder(words.folder), names=["image", "label"], transform=transforms.MultiViewTransform([view(), view()])
    )
    loader: Any = torch.utils.data.DataLoader(
        images, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=words.workers
    )
    encoder = learner(words.encoder)
    module = library.Module(
        backbone=encoder,
        projector=backbone.MLP(encoder.dim, [HIDDEN, PROJECTION]),
        forward=forward.simclr,
        simclr_loss=losses.NTXEntLoss(temperature=TEMPERATURE),
        optim={"optimizer": {"type": "LARS", "lr": 5, "weight_decay": 1e-6}},
    )
    with clocked(words.seconds) as clock:
        _trainer(pl).fit(module, data.DataModule(train=loader))
    return clock.first, clock.ends


def _trainer(pl: Any) -> Any:
    return pl.Trainer(
        max_epochs=FOREVER, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


RIVALS: dict[str, Callable[[Any], Told]] = {
    "lightly": lightly,
    "lightly-train": lightly_train,
    "stable-pretraining": stable_pretraining,
}
