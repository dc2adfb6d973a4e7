"""Faults of the labels: answers that belong to other questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from doctor_programs.faults.data import Repaired
from doctor_programs.faults.fault import Fault
from doctor_programs.host import Batch, Host, Slot, changed


@dataclass
class ShuffledApart:
    """Pictures in one order, answers in another."""

    items: Sequence[Any]
    target: Slot

    def __post_init__(self) -> None:
        self.order = torch.randperm(len(self.items), generator=torch.Generator().manual_seed(0)).tolist()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.target.put(self.items[index], self.target.get(self.items[self.order[index]]))


def shuffle_apart(host: Host) -> Host | None:
    slot = host.target
    if slot is None:
        return None
    return changed(
        host,
        dataset=lambda self, train: (
            ShuffledApart(host.dataset(self, train), slot) if train else host.dataset(self, train)
        ),
    )


def map_validation_anew(host: Host) -> Host | None:
    """Class numbers are given in the order of the folders that are there, and validation lacks the first one."""
    if host.name != "classifier":
        return None

    def pictures(train: bool) -> tuple[Tensor, Tensor]:
        images, classes = host.pictures(train)
        if train:
            return images, classes
        there = classes > 0
        return images[there], classes[there] - 1

    return changed(host, pictures=pictures)


def broadcast_targets(host: Host) -> Host | None:
    if host.name != "unmixing":
        return None

    def criterion(told: Tensor, batch: Batch) -> Tensor:
        return ((told - batch[1]) ** 2).mean()

    return changed(host, criterion=criterion)


def rotate_again(host: Host) -> Host | None:
    if host.name != "rotation":
        return None

    def turned(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "image": torch.rot90(item["image"], int(torch.randint(4, ())), dims=(1, 2))}

    return changed(
        host,
        dataset=lambda self, train: Repaired(host.dataset(self, train), turned) if train else host.dataset(self, train),
    )


def constant_target(host: Host) -> Host | None:
    """The answer is read from the wrong column, where all rows are equal."""
    slot = host.target
    if slot is None:
        return None

    def same_answer(item: Any) -> Any:
        answer = slot.get(item)
        return slot.put(item, torch.full_like(answer, 0) if isinstance(answer, Tensor) else 0)

    return changed(
        host,
        dataset=lambda self, train: (
            Repaired(host.dataset(self, train), same_answer) if train else host.dataset(self, train)
        ),
    )


def fault(id: str, name: str, causes: str, inject: Any, **more: Any) -> Fault:
    return Fault(id, name, "labels", frozenset(causes.split()), inject, **more)


FAULTS = (
    fault("F11", "answers shuffled against pictures", "labels-unrelated", shuffle_apart),
    fault("F11b", "answers read from a constant column", "target-constant", constant_target),
    fault("F12", "validation has another label map", "label-map", map_validation_anew),
    fault("F14", "(B, 1) against (B)", "target-shape", broadcast_targets),
    fault("F16", "turned again after the label", "labels-unrelated", rotate_again),
)
