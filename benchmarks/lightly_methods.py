"""Trains selfsight's default encoder by a method of lightly, in lightly's own environment.

    python lightly_methods.py METHOD --folder IMAGES --minutes 10 --seed 0 --out encoder.safetensors

Lightning's loop, batches of 256, SGD at 0.06 as in lightly's examples, heads as wide as selfsight's, for small encoders;
`SimCLR, AdamW` is SimCLR with selfsight's optimizer and schedule. Prints images a second. The clock starts with the first batch: set-up is not counted.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightly import loss as losses
from lightly import transforms
from lightly.data import LightlyDataset
from lightly.models import modules
from lightly.models.utils import deactivate_requires_grad, update_momentum
from safetensors.torch import save_file

from selfsight.encoders import Small
from selfsight.optimizer import Optimization

BATCH, HIDDEN, PROJECTION, TEMPERATURE, MOMENTUM = 256, 512, 128, 0.5, 0.99


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("method", choices=list(METHODS))
    given.add_argument("--folder", required=True)
    given.add_argument("--size", type=int, default=64)
    given.add_argument("--minutes", type=float, default=10.0)
    given.add_argument("--workers", type=int, default=0)
    given.add_argument("--threads", type=int, help="all where not given")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--out", type=Path, required=True)
    words = given.parse_args()
    pl.seed_everything(words.seed, workers=True)
    made, transform = METHODS[words.method]
    if words.threads:
        torch.set_num_threads(words.threads)
    model = made(Small().build(3, words.size, words.seed).train().requires_grad_(True))
    model.tuned, model.seconds = "AdamW" in words.method, 60 * words.minutes
    data = LightlyDataset(words.folder, transform=transform(words.size))
    loader: Any = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=words.workers
    )
    trainer = pl.Trainer(
        max_epochs=-1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, loader)
    save_file({name: value.contiguous() for name, value in model.backbone.state_dict().items()}, words.out)
    steps, took = trainer.global_step, time.perf_counter() - model.began
    print(json.dumps({"steps": steps, "images_per_second": steps * BATCH / took}))


class Method(pl.LightningModule):
    """What all share: an encoder, an optimizer, and a clock."""

    tuned, seconds, began = False, 0.0, 0.0

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def on_train_batch_start(self, *_: Any) -> None:
        self.began = self.began or time.perf_counter()
        if self.tuned:
            share = min(1.0, (time.perf_counter() - self.began) / self.seconds)
            for group in self.optimizers().param_groups:  # type: ignore[union-attr]
                group["lr"] = Optimization().rate_at(round(1000 * share), 1001)

    def on_train_batch_end(self, *_: Any) -> None:
        self.trainer.should_stop = time.perf_counter() - self.began > self.seconds

    def configure_optimizers(self) -> Any:
        if self.tuned:
            return Optimization().build(self, {})
        return torch.optim.SGD((p for p in self.parameters() if p.requires_grad), lr=0.06)


class SimCLR(Method):
    """lightly's example of it."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.head = modules.SimCLRProjectionHead(backbone.dim, HIDDEN, PROJECTION)
        self.criterion = losses.NTXentLoss(temperature=TEMPERATURE)

    def training_step(self, batch: Any, _: int) -> Any:
        first, second = batch[0]
        return self.criterion(self.head(self.backbone(first)), self.head(self.backbone(second)))


class VICReg(SimCLR):
    """lightly's example of it."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.head = modules.heads.VICRegProjectionHead(backbone.dim, HIDDEN, HIDDEN, num_layers=2)
        self.criterion = losses.VICRegLoss()


class BarlowTwins(SimCLR):
    """lightly's example of it."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.head = modules.BarlowTwinsProjectionHead(backbone.dim, HIDDEN, HIDDEN)
        self.criterion = losses.BarlowTwinsLoss()


class BYOL(Method):
    """lightly's example of it."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.head = modules.BYOLProjectionHead(backbone.dim, HIDDEN, PROJECTION)
        self.predictor = modules.BYOLPredictionHead(PROJECTION, HIDDEN, PROJECTION)
        self.slow, self.slow_head = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        deactivate_requires_grad(self.slow)
        deactivate_requires_grad(self.slow_head)
        self.criterion = losses.NegativeCosineSimilarity()

    def training_step(self, batch: Any, _: int) -> Any:
        update_momentum(self.backbone, self.slow, m=MOMENTUM)
        update_momentum(self.head, self.slow_head, m=MOMENTUM)
        first, second = batch[0]
        told = [self.predictor(self.head(self.backbone(view))) for view in (first, second)]
        with torch.no_grad():
            sought = [self.slow_head(self.slow(view)) for view in (first, second)]
        return 0.5 * (self.criterion(told[0], sought[1]) + self.criterion(told[1], sought[0]))


def _simclr(size: int) -> Any:
    return transforms.SimCLRTransform(input_size=size, normalize=None)


def _byol(size: int) -> Any:
    views = (transforms.BYOLView1Transform, transforms.BYOLView2Transform)
    return transforms.BYOLTransform(*(view(input_size=size, normalize=None) for view in views))


METHODS: dict[str, tuple[type[Method], Callable[[int], Any]]] = {
    "SimCLR": (SimCLR, _simclr),
    "SimCLR, AdamW": (SimCLR, _simclr),
    "VICReg": (VICReg, lambda size: transforms.VICRegTransform(input_size=size, normalize=None)),
    "BarlowTwins": (BarlowTwins, _byol),
    "BYOL": (BYOL, _byol),
}
"""Model, and views at a size: as they come, but that the encoder scales pixels itself."""


if __name__ == "__main__":
    main()
