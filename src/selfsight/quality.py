"""What a representation is worth without a single label, and the probe that speaks while a training runs.

A number alone says little; each is shown beside the same encoder untrained. What each can and cannot see is in
`docs/label_free.md`.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from selfsight.embedding import embed_images
from selfsight.images.views import Views
from selfsight.maths.matching import view_retrieval
from selfsight.maths.spectrum import alpha, effective_rank
from selfsight.maths.uniformity import alignment, uniformity
from selfsight.seeds import generator, seed_of

if TYPE_CHECKING:
    from selfsight.store import Store
    from selfsight.task import Model, Task

VIEWS = Views()
"""One fixed kind of views for every task, so that numbers of different tasks can be compared."""
IMAGES = 512
"""Images that label-free quality is measured on."""
BANK, ASKED = 1000, 400
"""Labelled images the running kNN votes with, and is asked about."""

JUDGED, FEW = 64, 16
"""Images of either kind that a task is judged on by itself; of fewer than FEW for validation nothing is said."""

MEANINGS = {
    "view retrieval": "share of images whose other view is the nearest of all; 1 is best",
    "effective rank": "how many directions the embeddings use (RankMe); higher is richer, D at most",
    "alpha": "how fast the spectrum falls (alpha-ReQ); near 1 is best, far above is collapse, far below is noise",
    "uniformity": "how evenly embeddings fill the sphere; lower is more even",
    "alignment": "squared distance of two views of an image; lower is closer, 0 also when all is collapsed",
}


def label_free(encoder: nn.Module, images: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Five label-free measures on two fixed views of up to IMAGES of `images` (all, H, W, C) uint8."""
    rows = np.sort(np.random.default_rng(seed_of(seed, "quality")).permutation(len(images))[:IMAGES])
    pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
    pair = VIEWS.pair(pixels, generator(seed, "quality"))
    z1, z2 = (_embed(encoder, pair[:, view]) for view in (0, 1))
    return {
        "view retrieval": float(view_retrieval(z1, z2)),
        "effective rank": float(effective_rank(z1)),
        "alpha": float(alpha(z1)),
        "uniformity": float(uniformity(z1)),
        "alignment": float(alignment(z1, z2)),
    }


def beside_untrained(after: nn.Module, before: nn.Module, images: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Rows of the label-free measures of an encoder and of the same untrained."""
    now, then = (label_free(encoder, images, seed) for encoder in (after, before))
    return [{"name": name, "trained": now[name], "untrained": then[name], "meaning": MEANINGS[name]} for name in now]


def judged(task: Task, model: Model, store: Store, where: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Rows of what a task itself says of its trained model, on images it learned from and on those of validation."""
    told, model = dict[str, dict[str, float]](), model.cpu().eval()
    for name, rows in (("train", where), ("val", store.where("val"))):
        chosen = np.sort(np.random.default_rng(seed_of(seed, "judged")).permutation(rows)[:JUDGED])
        told[name] = (
            task.judged(model, torch.from_numpy(store.images[chosen]).permute(0, 3, 1, 2))
            if name == "train" or len(rows) >= FEW
            else {}
        )
    return [{"name": name, "train": value, "val": told["val"].get(name)} for name, value in told["train"].items()]


def _embed(encoder: nn.Module, views: torch.Tensor, batch: int = 256) -> torch.Tensor:
    training, device = encoder.training, next(encoder.parameters()).device
    encoder.eval()
    with torch.no_grad():
        parts = [encoder(views[i : i + batch].to(device)).float().cpu() for i in range(0, len(views), batch)]
    encoder.train(training)
    return torch.cat(parts)


@dataclass(frozen=True)
class Held:
    """Labelled images kept for the running kNN: those it votes with, and those it is asked about."""

    bank: np.ndarray
    asked: np.ndarray
    bank_labels: np.ndarray
    asked_labels: np.ndarray


def hold(store: Store, seed: int) -> Held | None:
    """Some labelled images of the store, from its val split where it has one; None where labels are too few."""
    labels = store.labels()
    known = labels.codes >= 0
    rng = np.random.default_rng(seed_of(seed, "held"))
    known_train, known_val = known & (store.splits != "val"), known & (store.splits == "val")
    if known_val.sum() >= 50:
        bank, asked = np.flatnonzero(known_train), np.flatnonzero(known_val)
    else:
        rows = rng.permutation(np.flatnonzero(known_train))
        bank, asked = rows[: len(rows) * 4 // 5], rows[len(rows) * 4 // 5 :]
    bank, asked = (np.sort(rng.permutation(rows)[:most]) for rows, most in ((bank, BANK), (asked, ASKED)))
    if len(asked) < 20 or len(np.unique(labels.codes[bank])) < 2:
        return None
    return Held(bank, asked, labels.codes[bank], labels.codes[asked])


class RunningProbe:
    """Asks the encoder now and then while it trains; never touches its weights, mode or random state."""

    def __init__(self, store: Store, where: np.ndarray, untrained: Callable[[], nn.Module], seed: int) -> None:
        self.store, self.seed, self.untrained = store, seed, untrained
        self.held = hold(store, seed)
        self.sample = where[np.sort(np.random.default_rng(seed_of(seed, "sample")).permutation(len(where))[:IMAGES])]

    @functools.cached_property
    def before(self) -> dict[str, float]:
        """The untrained encoder's values; found when they are first wanted, not before the first step."""
        return {record["name"]: record["value"] for record in self._asked(self.untrained())}

    def ask(self, encoder: nn.Module) -> list[dict[str, Any]]:
        """kNN accuracy where labels exist, else label-free quality: [{name, value, low, high, n, untrained}]."""
        return [{**record, "untrained": self.before.get(record["name"])} for record in self._asked(encoder)]

    def say(self, records: list[dict[str, Any]]) -> str:
        """The records' first as a few words for the progress line."""
        first = records[0]
        return f"{first['name']} {first['value']:.1%} (untrained {first['untrained']:.1%})"

    def _asked(self, encoder: nn.Module) -> list[dict[str, Any]]:
        return self._knn(encoder) if self.held else self._free(encoder)

    def _knn(self, encoder: nn.Module) -> list[dict[str, Any]]:
        from selfsight.probe import Labelled, Subject
        from selfsight.probes import KNN

        assert self.held is not None
        held, images = self.held, self.store.images
        bank, asked = (embed_images(encoder, images, rows) for rows in (held.bank, held.asked))
        subject = Subject(
            "running",
            Labelled(bank, held.bank_labels, images[held.bank]),
            Labelled(asked, held.asked_labels, images[held.asked]),
            self.store.labels().classes,
        )
        score = next(iter(KNN().scores(subject, self.seed)))
        return [{"name": "kNN accuracy", "value": score.value, "low": score.low, "high": score.high, "n": score.n}]

    def _free(self, encoder: nn.Module) -> list[dict[str, Any]]:
        measured = label_free(encoder, self.store.images[self.sample], self.seed)
        n = len(self.sample)
        return [
            {"name": name, "value": measured[name], "low": None, "high": None, "n": n}
            for name in ("view retrieval", "effective rank")
        ]
