"""Nearest neighbours and a linear classifier as lightly's own benchmarks ask them, of embeddings that are there already.

    python lightly_probes.py EMBEDDINGS.npz OUT.json

Its KNNClassifier (200 neighbours, temperature .1, what its `knn_predict` has) and LinearClassifier (90 epochs of SGD in
batches of 256, asked after each), in Lightning's loop; a batch is one look into a tensor, as nothing has to be decoded.
Writes seconds and accuracy of each. See speed.py.

Shapes: N embeddings of D numbers.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightly.utils.benchmarking import KNNClassifier, LinearClassifier
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

BATCH, EPOCHS = 256, 90


def main() -> None:
    held = np.load(sys.argv[1])
    parts = [
        TensorDataset(torch.from_numpy(held[f"{part}_features"]), torch.from_numpy(held[f"{part}_labels"]))
        for part in ("train", "val")
    ]
    classes, features = int(held["train_labels"].max()) + 1, held["train_features"].shape[1]
    told: dict[str, dict[str, float]] = {}
    for probe, work in (("kNN", _neighbours), ("logistic", _linear)):
        began = time.perf_counter()
        accuracy = work(parts, classes, features)
        told[probe] = {"seconds": time.perf_counter() - began, "accuracy": accuracy}
    Path(sys.argv[2]).write_text(json.dumps(told), encoding="utf-8")


def _neighbours(parts: list[Any], classes: int, features: int) -> float:
    asked = KNNClassifier(
        torch.nn.Identity(), classes, knn_k=200, knn_t=0.1, train_dataloader_idx=0, val_dataloader_idx=1
    )
    trainer = _trainer(1)
    trainer.validate(asked, dataloaders=[_loader(part) for part in parts], verbose=False)
    return float(next(value for name, value in trainer.callback_metrics.items() if name.startswith("val_knn_top1")))


def _linear(parts: list[Any], classes: int, features: int) -> float:
    asked = LinearClassifier(torch.nn.Identity(), BATCH, feature_dim=features, num_classes=classes)
    trainer = _trainer(EPOCHS)
    trainer.fit(asked, _loader(parts[0], shuffled=True), _loader(parts[1]))
    return float(trainer.callback_metrics["val_top1"])


def _loader(part: Any, shuffled: bool = False) -> Any:
    sampler = RandomSampler(part) if shuffled else SequentialSampler(part)
    return DataLoader(part, sampler=BatchSampler(sampler, BATCH, drop_last=shuffled), batch_size=None)


def _trainer(epochs: int) -> Any:
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
