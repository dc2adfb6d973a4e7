"""Eleven weeks of debugging, replayed in a minute of two cores: `python examples/eleven_weeks_in_a_minute.py`.

From August to October 2020 somebody kept a journal of a self-supervised idea that would not learn: mix pictures, show
the mixture and its sources, ask how much of each is in it (hdmamin/self-supervised-vision-exp). Below are that program
and its supervised control, small and healthy, and ten mistakes the journal met, each put in as it was really made; an
eleventh is from the journal of another project (johnathanchiu/variable-length-embedding), which split pictures by
masks. The doctor is given each program and nothing else. It is right where its first alarm names the component and the
cause; the exit code is 0 only if all eleven are named and it has nothing to say against the healthy programs.

Shapes: N pictures in a batch, H = W = 16, K = 3 sources or masks, D = 32 features.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import selfsight

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
K, D = 3, 32
Build = Callable[[], nn.Module]
SCANS = load_digits(return_X_y=True)


@cache
def digits(train: bool) -> tuple[Tensor, Tensor]:
    """Scanned digits, enlarged: (N, 1, 16, 16) in 0..1 and their classes (N,)."""
    x, y = (torch.from_numpy(part)[:963] if train else torch.from_numpy(part)[963:] for part in SCANS)
    return F.interpolate(x.float().view(-1, 1, 8, 8) / 16, scale_factor=2, mode="bilinear"), y.long()


class Mixtures(Dataset[Any]):
    """Windows of K pictures: ((mixture of two of them, the K pictures), the share of each)."""

    def __init__(self, train: bool = True) -> None:
        self.x = digits(train)[0]

    def __len__(self) -> int:
        return len(self.x) - K + 1

    def __getitem__(self, i: int) -> tuple[tuple[Tensor, ...], Tensor]:
        w, sources = torch.rand(()), self.x[i : i + K]
        shares = torch.stack([w, 1 - w, torch.zeros(())])[torch.randperm(K)]
        return ((shares[:, None, None, None] * sources).sum(0), *sources), shares


def body() -> nn.Sequential:
    """(N, 1, H, W) -> (N, D, 1, 1)"""
    return nn.Sequential(
        nn.Conv2d(1, 24, 4, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(24, D, 4, stride=2, padding=1),
        nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


class Unmixer(nn.Module):
    """One encoder for the mixture and its sources, a head that compares the first with each of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = body()
        self.head = nn.Sequential(nn.Linear(2 * D, 64), nn.LeakyReLU(0.1), nn.Linear(64, 1))

    def encode(self, xb: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.encoder(x).flatten(1) for x in xb], dim=1)  # (N, 1 + K, D)

    def forward(self, *xb: Tensor) -> Tensor:
        h = self.encode(xb)
        mixed, sources = h[:, :1], h[:, 1:]
        return self.head(torch.cat([mixed * sources, mixed - sources], dim=2)).flatten(1)


class Cosine(Unmixer):
    """Likeness itself is the answer."""

    def forward(self, *xb: Tensor) -> Tensor:
        h = self.encode(xb)
        return F.cosine_similarity(h[:, :1], h[:, 1:], dim=2)


def program(
    items: Any, model: Build, predict: Any, criterion: Any, drop_last: bool = True, **more: Any
) -> selfsight.Program:
    """What the three trainings have in common."""
    return selfsight.Program(
        batches=lambda: DataLoader(items, batch_size=32, shuffle=True, drop_last=drop_last),
        model=model,
        loss=lambda net, batch: criterion(predict(net, batch), batch),
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=3e-3),
        predict=predict,
        criterion=criterion,
        dataset=items,
        planned_steps=300,
        **more,
    )


def unmixing(dataset: Any = Mixtures, model: Build = Unmixer, drop_last: bool = True) -> selfsight.Program:
    """How much of each source is in the mixture?"""
    return program(
        dataset(), model, predict=lambda net, batch: torch.sigmoid(net(*batch[0])),
        criterion=lambda shares, batch: F.mse_loss(shares, batch[1]), drop_last=drop_last,
    )  # fmt: skip


class Folder(Dataset[Any]):
    """Pictures of the classes that are there, numbered in the order of their names unless a numbering is handed in."""

    def __init__(self, train: bool, names: Sequence[str] = NAMES, class_to_idx: dict[str, int] | None = None) -> None:
        self.class_to_idx = class_to_idx or {name: i for i, name in enumerate(sorted(names))}
        self.x = [(x, NAMES[y]) for x, y in zip(*digits(train), strict=True) if NAMES[y] in names]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        x, name = self.x[i]
        return x, self.class_to_idx[name]


class Classifier(nn.Module):
    def __init__(self, classes: int = len(NAMES)) -> None:
        super().__init__()
        self.encoder = body()
        self.head = nn.Linear(D, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        return self.encoder(x).flatten(1)


def supervised(
    model: Build = Classifier,
    criterion: Any = lambda logits, batch: F.cross_entropy(logits, batch[1]),
    numbers: Any = lambda table: table, **more: Any,
) -> selfsight.Program:  # fmt: skip
    """The control: which digit is it? `numbers` turns the training's numbering into that of the validation folders."""
    items = Folder(True)
    held = DataLoader(Folder(False, NAMES[2:], numbers(items.class_to_idx)), batch_size=32)
    return program(items, model, lambda net, batch: net(batch[0]), criterion, validation=lambda: held, **more)


class Masker(nn.Module):
    """Splits a picture into K parts: a mask of what is still missing, and a code of what is seen through it."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
        self.encoder = nn.Sequential(body(), nn.Flatten(), nn.Linear(D, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 256), nn.Unflatten(1, (1, 16, 16)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) -> the picture from its parts (N, 1, H, W), masks (N, K, H, W)"""
        made, masks = torch.zeros_like(x), []
        for _ in range(K):
            mask = torch.sigmoid(self.mask(torch.cat([x, x - made], 1)))
            made = made + mask * self.decoder(self.encoder(x * mask))
            masks.append(mask[:, 0])
        return made, torch.stack(masks, 1)


def by_masks(apart: Callable[[Tensor], Any] = lambda masks: 0.0) -> selfsight.Program:
    """What is the picture made of? `apart` adds a term on the masks."""
    return program(
        TensorDataset(digits(True)[0]), Masker, predict=lambda net, batch: net(batch[0]),
        criterion=lambda told, batch: F.mse_loss(told[0], batch[0]) + apart(told[1]),
    )  # fmt: skip


class SlotsMixed(Unmixer):
    def encode(self, xb: Sequence[Tensor]) -> Tensor:
        return self.encoder(torch.cat(list(xb), dim=0)).view(len(xb[0]), len(xb), -1)


class WindowsMiscounted(Mixtures):
    def __len__(self) -> int:
        return len(self.x) // K


class Squeezed(Unmixer):
    def encode(self, xb: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.encoder(x).squeeze() for x in xb], dim=1)


xb: Sequence[Tensor] = ()


def in_a_notebook() -> selfsight.Program:
    global xb
    xb = next(iter(unmixing().batches()))[0]  # the cell above

    class Notebook(Unmixer):
        def forward(self, *x: Tensor) -> Tensor:
            return super().forward(*xb)

    return unmixing(model=Notebook)


def squashed_in_the_head() -> Unmixer:
    net = Unmixer()
    net.head.append(nn.Sigmoid())  # what uses this head squashes its outputs, too
    return net


def default_loss(logits: Tensor, batch: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.flatten(), batch[1].float())


class PooledTwice(Classifier):
    """Brings its own pool, while the body's was to be taken off; the width of the head is tried out."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(self.features(torch.zeros(2, 1, 16, 16)).shape[1], len(NAMES))

    def features(self, x: Tensor) -> Tensor:
        return self.pool(self.encoder(x).flatten(1))


def transferred() -> Classifier:
    net = Classifier()
    net.encoder.requires_grad_(False)
    return net


def unfreeze(net: Any, optimizer: Any, epoch: int, mode: str = "layers", schedule: Sequence[int] = (0,)) -> None:
    """Unfreezes the encoder after some epoch; the mode that this caller means is "epoch"."""
    if mode == "epoch" and epoch in schedule:
        net.encoder.requires_grad_(True)


def masks_apart(masks: Tensor) -> Tensor:
    """Each mask is to differ from an empty one, and from the sum of those before it."""
    before = masks.cumsum(1) - masks
    return (torch.exp(-5 * masks**2) + torch.exp(-5 * (masks - before) ** 2)).mean()


# Day, what was seen, the truth (component and causes), the program as it was, seconds for checks that train (0: none).
# fmt: off
JOURNAL: tuple[tuple[str, str, str, str, Callable[[], selfsight.Program], float], ...] = (
    ("5 Aug", "a tiny batch is not fitted", "model", "mixes-examples", partial(unmixing, model=SlotsMixed), 0),
    ("7 Aug", "the data set is too short", "data", "index-contract", partial(unmixing, WindowsMiscounted), 0),
    ("7 Aug", "a last batch of one fails", "model", "batch-of-one", partial(unmixing, Mixtures, Squeezed, False), 0),
    ("9 Aug", "a bought encoder fails, too", "model", "reads-a-global ignores-input", in_a_notebook, 0),
    ("12 Aug", "1 for everything, at any rate", "loss", "activation-twice loss-activation-mismatch",
     partial(unmixing, model=squashed_in_the_head), 2),
    ("15 Aug", "the supervised control fails", "loss", "wrong-loss",
     partial(supervised, partial(Classifier, 1), default_loss), 0),
    ("31 Aug", "cosines used as logits", "loss", "temperature", partial(unmixing, model=Cosine), 0),
    ("18 Sep", "the encoder's width comes out odd", "model", "built-wrong", partial(supervised, PooledTwice), 0),
    ("26 Sep", "fine-tuning does not unfreeze", "optimizer", "never-unfreezes",
     partial(supervised, transferred, between_epochs=unfreeze), 0),
    ("27 Sep", "validation is below chance", "labels", "label-map",
     partial(supervised, numbers=lambda table: None), 10),
    ("4 Apr*", "masks full and empty in turn", "loss", "degenerate-optimum", partial(by_masks, masks_apart), 12),
)
HEALTHY: dict[str, Any] = {"un-mixing": unmixing, "its control": supervised, "masks": by_masks}
# fmt: on


def told(diagnosis: selfsight.Diagnosis) -> str:
    """What the doctor says first, and its progress on frozen batches before and after a cure that worked."""
    if not diagnosis.alarms:
        return diagnosis.verdict
    first, repair = diagnosis.alarms[0], diagnosis.repair if diagnosis.repair and diagnosis.repair.restored else None
    cured = (
        f"; progress {repair.before:.2f}, with {repair.swapped} {repair.after:.2f}" if repair and repair.better else ""
    )
    at = f"{first.place.name} ({Path(first.place.file).name}:{first.place.line})"
    return f"{first.grade} {first.component}: {first.cause} in {at}{cured}"


def replayed(index: int) -> tuple[bool, str]:
    """Whether the doctor names the truth of one line of the journal, and what it says."""
    day, seen, component, causes, then, most = JOURNAL[index]
    torch.set_num_threads(1)
    diagnosis = selfsight.examine(then(), name=day, seconds=most or 60, quick=not most)
    named = any(first.component == component and first.cause in causes.split() for first in diagnosis.alarms[:1])
    verdict = "named " if named else "MISSED"
    return named, f"{day:<6} {seen:<34}{verdict} {diagnosis.seconds:4.1f} s  {told(diagnosis)}"


def left_alone(name: str) -> tuple[bool, str]:
    """Whether the doctor has nothing against a healthy program, and what it says."""
    torch.set_num_threads(1)
    diagnosis = selfsight.examine(HEALTHY[name](), name=name, seconds=20, quick=name != "un-mixing")
    silent = not diagnosis.alarms and diagnosis.broken is None
    return silent, f"healthy {name:<39} {diagnosis.seconds:4.1f} s  {told(diagnosis)}"


def main() -> int:
    selfsight.examine(unmixing(), quick=True)  # the doctor tests its own instruments, the first time it is asked
    began, longest = time.monotonic(), len(JOURNAL) - 1
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        last = pool.submit(replayed, longest)  # begun first, told in its turn
        told_of = [pool.submit(replayed, index) for index in range(longest)]
        healthy = [pool.submit(left_alone, name) for name in HEALTHY]
        right = silent = 0
        for asked in (*told_of, last):
            named, line = asked.result()
            right += named
            print(line, flush=True)
        for asked in healthy:
            well, line = asked.result()
            silent += well
            print(line, flush=True)
    print(f"{right} of {len(JOURNAL)} named in {time.monotonic() - began:.0f} s")
    return 0 if right == len(JOURNAL) and silent == len(HEALTHY) else 1


if __name__ == "__main__":
    sys.exit(main())
