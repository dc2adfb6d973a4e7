"""One way to learn from a folder by SimCLR, in a process of its own: prints images a second.

    python speed_loops.py NAME --encoder small|resnet18 --folder IMAGES --seconds 15 [--workers 2]

The same encoder (selfsight's, at its size), projector sizes, temperature, views in distribution, and batch for all. What
differs is how each is run: `plain` as tutorials write it, `tuned` as one who knows processors would, `lightly` as its
documentation shows it, `selfsight` by `selfsight.pretrain`. Needs what it is called after, and selfsight.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

BATCH, SIDE, HIDDEN, PROJECTION, TEMPERATURE = 128, 64, 512, 128, 0.5
LEFT_OUT = 2
"""First steps that are not counted: they choose kernels and start workers."""


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("name", choices=list(LOOPS))
    given.add_argument("--encoder", choices=["small", "resnet18"], default="small")
    given.add_argument("--folder", required=True)
    given.add_argument("--seconds", type=float, default=15.0)
    given.add_argument("--workers", type=int, default=0)
    given.add_argument(
        "--began", type=float, help="when this process was asked for, by the clock; its first step is told from there"
    )
    words = given.parse_args()
    first, ends = LOOPS[words.name](words)
    counted = ends[LEFT_OUT:]
    rate = BATCH * (len(counted) - 1) / (counted[-1] - counted[0]) if len(counted) > 1 else float("nan")
    since = {"first_step": first - words.began} if words.began else {}
    print(json.dumps({"images_per_second": rate, "steps": len(ends), **since}))


def _encoder(name: str) -> Any:
    from selfsight.encoders import Small, Timm

    made = Small() if name == "small" else Timm(name="resnet18")
    return made.build(3, SIDE).train().requires_grad_(True)


def _views() -> Any:
    """What lightly's SimCLRTransform does by default, in our words; sigma is told for 224 pixels there too."""
    import selfsight

    return selfsight.Views(
        crop=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, sigma=(0.1, 2.0 * 224 / SIDE)
    )


Told = tuple[float, list[float]]
"""When the first step ended, by the clock of all processes; and the ends of all steps, by a clock of its own."""


def _selfsight(words: argparse.Namespace) -> Told:
    import tempfile
    import threading

    from rich.console import Console

    import selfsight
    from selfsight.encoders import Small, Timm

    encoder = Small() if words.encoder == "small" else Timm(name="resnet18")
    task = selfsight.SimCLR(views=_views(), hidden=HIDDEN, projection=PROJECTION, temperature=TEMPERATURE)
    first: list[float] = []

    def watch(pace: Path) -> None:
        while not pace.exists():
            time.sleep(0.01)
        first.append(time.time())

    with tempfile.TemporaryDirectory() as scratch:
        threading.Thread(target=watch, args=(Path(scratch) / "run" / "pace.jsonl",), daemon=True).start()
        run = selfsight.pretrain(
            words.folder, task=task, encoder=encoder, batch=BATCH, minutes=words.seconds / 60, out=Path(scratch) / "run",
            console=Console(quiet=True), doctor="off",
        )  # fmt: skip
        return first[0], [float(end) for end in accumulate(line["seconds"] for line in run.lines("pace"))]


def _loop(words: argparse.Namespace, tuned: bool) -> Told:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    one = T.Compose(
        [
            T.RandomResizedCrop(SIDE, scale=(0.08, 1.0)),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(7, (0.1, 2.0))], 0.5),
            T.ToTensor(),
        ]
    )
    data = ImageFolder(words.folder, transform=lambda image: (one(image), one(image)))
    loader: Any = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=words.workers)
    encoder = _encoder(words.encoder)
    projector = nn.Sequential(
        nn.Linear(encoder.dim, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTION)
    )
    if tuned:
        encoder = encoder.to(memory_format=torch.channels_last)
    parameters = [*encoder.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=tuned or None)

    def step(batch: Any) -> None:
        views = torch.cat(batch[0])
        if tuned:
            views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            z = projector(encoder(views))
        loss = _nt_xent(z.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _timed(words.seconds, lambda: (batch for _ in iter(int, 1) for batch in loader), step)


def _nt_xent(z: Any) -> Any:
    import torch

    z = torch.nn.functional.normalize(z)
    n = len(z) // 2
    logits = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return torch.nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


def _timed(seconds: float, batches: Callable[[], Iterator[Any]], step: Callable[[Any], None]) -> Told:
    first, ends = 0.0, list[float]()
    for batch in batches():
        step(batch)
        first = first or time.time()
        ends.append(time.perf_counter())
        if len(ends) > LEFT_OUT + 1 and ends[-1] - ends[LEFT_OUT] > seconds:
            break
    return first, ends


def _lightly(words: argparse.Namespace) -> Told:
    import pytorch_lightning as pl
    import torch
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = _encoder(words.encoder)
            self.head = SimCLRProjectionHead(self.backbone.dim, HIDDEN, PROJECTION)
            self.criterion = NTXentLoss(temperature=TEMPERATURE)

        def training_step(self, batch: Any, _: int) -> Any:
            first, second = batch[0]
            return self.criterion(self.head(self.backbone(first)), self.head(self.backbone(second)))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.06)

    first, ends = list[float](), list[float]()

    class Clock(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            first.append(time.time())
            ends.append(time.perf_counter())
            if len(ends) > LEFT_OUT + 1 and ends[-1] - ends[LEFT_OUT] > words.seconds:
                trainer.should_stop = True

    data = LightlyDataset(words.folder, transform=SimCLRTransform(input_size=SIDE))
    loader: Any = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=words.workers
    )
    trainer = pl.Trainer(
        max_epochs=1000, accelerator="cpu", devices=1, callbacks=[Clock()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Model(), loader)
    return first[0], ends


LOOPS: dict[str, Callable[[argparse.Namespace], Told]] = {
    "selfsight": _selfsight,
    "plain": lambda words: _loop(words, tuned=False),
    "tuned": lambda words: _loop(words, tuned=True),
    "lightly": _lightly,
}


if __name__ == "__main__":
    main()
