"""Faults of the data: items that are never reached, pictures that are not what they seem, views that are no pairs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from doctor_programs.faults.fault import Fault
from doctor_programs.host import Batch, Host, changed, same


@dataclass
class Windows:
    """Items that are windows of n pictures, counted as if the windows did not overlap."""

    items: Sequence[Any]
    n: int = 3

    def __len__(self) -> int:
        return len(self.items) // self.n

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def count_windows(host: Host) -> Host:
    return changed(
        host, dataset=lambda self, train: Windows(host.dataset(self, train)) if train else host.dataset(self, train)
    )


class DropsBroken:
    """Files that cannot be decoded are taken off the list when they are met, that is, while it is being walked."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.paths = list(range(len(items)))
        self.broken = set(random.Random(0).sample(self.paths, len(self.paths) // 20))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        while self.paths[index] in self.broken:
            self.paths.pop(index)
        return self.items[self.paths[index]]


def drop_broken(host: Host) -> Host:
    return changed(
        host, dataset=lambda self, train: DropsBroken(host.dataset(self, train)) if train else host.dataset(self, train)
    )


@dataclass
class Cached:
    """Items kept in memory after the first access: after the augmentation, instead of before it."""

    items: Sequence[Any]
    memory: dict[int, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if index not in self.memory:
            self.memory[index] = self.items[index]
        return self.memory[index]


def draws_at_access(host: Host) -> bool:
    """Whether the same item differs from access to access."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        items = host.dataset(host, True)
        first, second = (torch.cat([part.flatten().float() for part in tensors(items[0])]) for _ in range(2))
    return not torch.equal(first, second)


def tensors(told: Any) -> list[Tensor]:
    """The tensors of a nest, in order."""
    if isinstance(told, Tensor):
        return [told]
    parts = told.values() if isinstance(told, dict) else told if isinstance(told, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def cache_augmented(host: Host) -> Host | None:
    if not draws_at_access(host):
        return None
    return changed(
        host, dataset=lambda self, train: Cached(host.dataset(self, train)) if train else host.dataset(self, train)
    )


class OwnDraws:
    """A dataset that draws its augmentations from a generator of its own, made once: every worker inherits the same copy."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.draws = random.Random(0)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.draws.getrandbits(32))
            return self.items[index]


def share_worker_seed(host: Host) -> Host | None:
    usual = host.loader(host.dataset(host, True), True)
    if not isinstance(usual, DataLoader) or not draws_at_access(host):
        return None

    def loader(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
        workers = min(2, os.cpu_count() or 1, len(os.sched_getaffinity(0))) if shuffle else 0
        return DataLoader(
            items,  # type: ignore[arg-type]
            batch_size=usual.batch_size,
            shuffle=shuffle,
            drop_last=True,
            num_workers=workers,
            collate_fn=usual.collate_fn,
        )

    return changed(
        host,
        loader=loader,
        dataset=lambda self, train: OwnDraws(host.dataset(self, train)) if train else host.dataset(self, train),
    )


@dataclass
class Repaired:
    """Items with a change of mind about what stands where."""

    items: Sequence[Any]
    change: Any

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.change(self.items[index])


def repeat_first_view(host: Host) -> Host | None:
    slot = host.views
    if slot is None:
        return None

    def twice_the_first(item: Any) -> Any:
        first, _ = slot.get(item)
        return slot.put(item, (first, first.clone()))

    return changed(
        host,
        dataset=lambda self, train: (
            Repaired(host.dataset(self, train), twice_the_first) if train else host.dataset(self, train)
        ),
    )


def roll_second_view(host: Host) -> Host | None:
    slot = host.views
    if slot is None:
        return None

    def rolled(items: Sequence[Any], shuffle: bool) -> Iterable[Batch]:
        for batch in host.loader(items, shuffle):
            first, second = slot.get(batch)
            yield slot.put(batch, (first, second.roll(1, 0))) if shuffle else batch

    return changed(host, loader=rolled)


def normalise_twice(host: Host) -> Host | None:
    if host.prepare is same:
        return None
    return changed(host, prepare=lambda picture: host.prepare(host.prepare(picture)))


def has_norm(host: Host) -> bool:
    """Whether any layer of the model normalises."""
    return any("Norm" in type(part).__name__ for part in host.model().modules())


def leave_bytes(host: Host) -> Host | None:
    if has_norm(host):
        return None
    return changed(host, prepare=lambda picture: host.prepare(picture) * 0 + picture * 255)


def reshape_axes(host: Host) -> Host | None:
    if len(host.prepare(host.pictures(True)[0][0])) == 1:
        return None

    def prepare(picture: Tensor) -> Tensor:
        channels, height, width = picture.shape
        if channels == 1:
            return host.prepare(picture.repeat(1, 1, 3).reshape(3, height, width))
        as_read = picture.permute(1, 2, 0).contiguous()
        return host.prepare(as_read.reshape(channels, height, width))

    return changed(host, prepare=prepare)


def zero_undecoded(host: Host) -> Host:
    def pictures(train: bool) -> tuple[Tensor, Tensor]:
        images, classes = host.pictures(train)
        if not train:
            return images, classes
        failed = torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < 0.6
        return torch.where(failed[:, None, None, None], 0.0, images), classes

    return changed(host, pictures=pictures)


def leave_sorted(host: Host) -> Host:
    return changed(host, loader=lambda items, shuffle: host.loader(items, False))


def crop_to_nothing(host: Host) -> Host | None:
    if host.views is None:
        return None

    def augment(picture: Tensor) -> Tensor:
        side = max(1, round((0.01 * picture.shape[-1] * picture.shape[-2]) ** 0.5))
        top, left = torch.randint(picture.shape[-1] - side + 1, (2,)).tolist()
        crop = picture[None, :, top : top + side, left : left + side]
        return host.augment(interpolate(crop, size=picture.shape[-2:], mode="bilinear")[0])

    return changed(host, augment=augment)


def wrong_slot(host: Host) -> Host | None:
    """Each tuple of inputs is taken apart at the wrong comma, so that another picture stands in the first slot."""
    shifts = {
        "unmixing": lambda item: ((item[0][1], item[0][1], item[0][2]), item[1]),
        "masked": lambda item: {**item, "seen": item["full"]},
    }
    if host.name not in shifts:
        return None
    return changed(host, dataset=lambda self, train: Repaired(host.dataset(self, train), shifts[host.name]))


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "data", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault("F01", "length counted in windows", "index-contract", count_windows),
    fault("F01b", "broken files popped while iterating", "index-contract", drop_broken, raises=True),
    fault("F02", "augmented items cached", "frozen-augmentation", cache_augmented),
    fault("F02b", "workers share a generator", "workers-share-seed frozen-augmentation", share_worker_seed),
    fault("F03", "both views are the first", "views-identical", repeat_first_view),
    fault("F04", "second views rolled by one", "views-misaligned views-unrelated", roll_second_view),
    fault("F05", "normalised twice", "scale-mismatch", normalise_twice),
    fault("F05b", "0..255 into a net without norm", "scale-mismatch not-what-you-think", leave_bytes),
    fault("F06", "axes reshaped instead of permuted", "not-what-you-think", reshape_axes),
    fault("F07", "60 % decode to zeros", "not-what-you-think no-signal-in-data", zero_undecoded),
    fault("F08", "batches sorted by class", "sorted-batches", leave_sorted),
    fault("F09", "crops of 1 % of the picture", "views-unrelated no-signal-in-data", crop_to_nothing),
    fault("F10", "another picture in an input slot", "wrong-input-slot", wrong_slot),
)
