"""The checks on data and labels: what is planted, and how items are read and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from asking import found
from blobs import alarms, conv_net, photographs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from selfsight.check import Check, Grade
from selfsight.checks.batch_variety import BatchVariety
from selfsight.checks.fresh_randomness import FreshRandomness
from selfsight.checks.index_contract import IndexContract
from selfsight.checks.label_map import LabelMap
from selfsight.checks.paired_views import PairedViews
from selfsight.checks.shortcut import Shortcut
from selfsight.checks.targets import Targets
from selfsight.checks.what_it_sees import WhatItSees
from selfsight.observations.items import digest, own
from selfsight.planted import Quarters, tiny
from selfsight.program import Program

CHECKS = (
    IndexContract(),
    WhatItSees(),
    FreshRandomness(),
    PairedViews(),
    BatchVariety(),
    LabelMap(),
    Targets(),
    Shortcut(),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_every_check_fires_on_what_is_planted_and_on_nothing_else(check: Check) -> None:
    sick, well = check.planted()
    said = found(check, sick)
    assert said and all(finding.code == check.code for finding in said)
    assert check.code == "R703" or any(finding.alarms for finding in said)
    assert not [finding for finding in found(check, well) if finding.alarms]
    assert set(type(check).explained()) >= {"Detected", "Matters", "Cure", "Blind"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_the_plain_program_is_silent_with_every_optional_member_given(check: Check) -> None:
    data = Quarters()
    program = tiny(
        batches=lambda: DataLoader(data, batch_size=16, shuffle=True),
        dataset=data,
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: cross_entropy(logits, batch[1]),
        validation=lambda: DataLoader(data, batch_size=16),
        planned_steps=100,
    )
    assert alarms(check, program) == []


# ------------------------------------------------------------------------------------------------------ D101, indices


class Paths(Dataset[Any]):
    """A list of file names, some of which cannot be opened."""

    def __init__(
        self, length: Callable[[int], int] = lambda n: n, window: int = 1, broken: tuple[int, ...] = ()
    ) -> None:
        self.files = [f"{i}.png" for i in range(60)]
        self.length, self.window, self.broken = length, window, broken

    def open(self, name: str) -> Tensor:
        return torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(int(name.split(".")[0])))

    def __len__(self) -> int:
        return self.length(len(self.files))

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        names = [self.files[i + k] for k in range(self.window)]
        return torch.stack([self.open(name) for name in names]).mean(0), i % 3


class Skips(Paths):
    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if i % 10 == 3 and len(self.files) > 50:
            self.files.pop(i)
        return self.open(self.files[i]), i % 3


class MadeUp(Dataset[Any]):
    """Every index has an item; the length is that of an epoch."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(i)), i % 3


def reading(data: Any, **more: Any) -> Program:
    return tiny(**{"dataset": data, "batches": lambda: DataLoader(data, batch_size=8, shuffle=True), **more})


@pytest.mark.parametrize(
    "data",
    [Paths(lambda n: n // 4, window=4), Paths(lambda n: n, window=4), Skips()],
    ids=[
        "counts windows as if they did not overlap",
        "counts windows that are not there",
        "drops files while it reads",
    ],
)
def test_a_length_that_is_wrong_is_proven(data: Any) -> None:
    assert alarms(IndexContract(), reading(data)) == [(Grade.PROVEN, "index-contract")]


def test_the_length_of_windows_is_told() -> None:
    (finding,) = found(IndexContract(), reading(Paths(lambda n: n // 4, window=4)))
    assert finding.evidence == {"length": 15, "answers": 57, "never_used": 42}
    assert "57" in finding.cure


@pytest.mark.parametrize(
    "data",
    [
        Paths(lambda n: n - 3, window=4),
        Paths(lambda n: n - 4, window=4),  # one too few: a note
        MadeUp(),
        [(torch.zeros(1, 8, 8), 0)] * 40,
        TensorDataset(torch.zeros(40, 1, 8, 8), torch.zeros(40, dtype=torch.long)),
        Subset(MadeUp(), range(5, 45)),
        torch.zeros(40, 1, 8, 8),
    ],
    ids=["right windows", "one window too few", "made up", "a list", "tensors", "subset", "one tensor"],
)
def test_healthy_lengths_are_left_alone(data: Any) -> None:
    assert (
        alarms(IndexContract(), reading(data, batches=lambda: [(torch.zeros(8, 1, 8, 8), torch.arange(8) % 3)])) == []
    )


def test_unreadable_items_that_a_sampler_of_the_users_avoids_are_a_note() -> None:
    data = Paths(lambda n: n, window=4)
    chosen = torch.utils.data.SubsetRandomSampler(range(50))
    program = tiny(dataset=data, batches=lambda: DataLoader(data, batch_size=8, sampler=chosen))
    assert [finding.grade for finding in found(IndexContract(), program)] == [Grade.NOTE]


def test_a_list_that_shrinks_while_it_is_read_is_told_as_such() -> None:
    (finding,) = found(IndexContract(), reading(Skips()))
    assert finding.evidence["before"] == 60 and int(finding.evidence["after"]) < 60


def test_reading_leaves_the_users_data_set_as_it_was() -> None:
    data = Skips()
    before = list(data.files)
    found(IndexContract(), reading(data))
    assert data.files == before


def test_a_copy_owns_lists_caches_and_generators_and_shares_pictures() -> None:
    pictures = torch.zeros(5)
    original = SimpleNamespace(pictures=pictures, seen={1: [2]}, draws=np.random.default_rng(0), names=["a"])
    twin = own(original)
    twin.seen[1].append(3)
    twin.names.append("b")
    drawn = twin.draws.random()
    assert original.seen == {1: [2]} and original.names == ["a"] and twin.pictures is pictures
    assert original.draws.random() == drawn


def test_digests_tell_every_bit_and_every_shape() -> None:
    item = {"x": torch.arange(4.0), "y": [1, "a"]}
    assert digest(item) == digest({"x": torch.arange(4.0), "y": [1, "a"]})
    assert digest(item) != digest({"x": torch.arange(4.0).view(2, 2), "y": [1, "a"]})
    assert digest(item) != digest({"x": torch.arange(4.0), "y": [1, "b"]})


# ------------------------------------------------------------------------------------------------- D103, fresh numbers


class Crops(Dataset[Any]):
    """Random crops of pictures."""

    def __init__(self) -> None:
        self.pictures = photographs(side=20)

    def __len__(self) -> int:
        return len(self.pictures)

    def crop(self, i: int, top: int, left: int) -> tuple[Tensor, int]:
        return self.pictures[i, :, top : top + 16, left : left + 16], i % 3

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        top, left = torch.randint(5, (2,)).tolist()
        return self.crop(i, top, left)


class Remembered(Crops):
    """A list of Nones that is filled, as image folders kept in memory are written."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: list[Any] = [None] * len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if self.cache[i] is None:
            self.cache[i] = super().__getitem__(i)
        return self.cache[i]


class Decoded(Crops):
    """Keeps the decoded picture, and crops it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: dict[int, Tensor] = {}

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        if i not in self.decoded:
            self.decoded[i] = self.pictures[i] * 2
        top, left = torch.randint(5, (2,)).tolist()
        return self.decoded[i][:, top : top + 16, left : left + 16], i % 3


class OwnNumbers(Crops):
    """A NumPy generator made in __init__: each worker, in each epoch, begins with a copy of it."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        top, left = self.rng.integers(5, size=2).tolist()
        return self.crop(i, top, left)


few_cores = pytest.mark.filterwarnings("ignore:This DataLoader will create")
"""torch warns where there are more workers than cores."""


def same_seed(worker: int) -> None:
    torch.manual_seed(0)


def seed_of_worker(worker: int) -> None:
    np.random.seed(torch.initial_seed() % 2**32)


def dealing(data: Any, **loader: Any) -> Program:
    return tiny(model=conv_net, dataset=data, batches=lambda: DataLoader(data, batch_size=8, shuffle=True, **loader))


def test_an_augmentation_that_is_kept_is_proven_even_when_the_cache_is_full() -> None:
    data = Remembered()
    _ = [data[i] for i in range(len(data))]
    full = list(data.cache)
    (finding,) = found(FreshRandomness(), dealing(data))
    assert (finding.grade, finding.cause) == (Grade.PROVEN, "frozen-augmentation")
    assert finding.evidence == {"items": 8, "repeated": 8}
    assert all(one is other for one, other in zip(data.cache, full, strict=True))


@few_cores
def test_one_pattern_for_all_examples_is_proven() -> None:
    def noisy(seed: int | None) -> Iterator[Any]:
        for pictures, _ in DataLoader(Quarters(), batch_size=16):
            noise = [torch.randn(pictures[0].shape, generator=drawn(seed, i)) for i in range(len(pictures))]
            yield pictures + 0.1 * torch.stack(noise), pictures

    def drawn(seed: int | None, i: int) -> torch.Generator:
        return torch.Generator().manual_seed(i if seed is None else seed)

    def restoring(seed: int | None) -> Program:
        return tiny(
            batches=lambda: noisy(seed),
            model=lambda: nn.Conv2d(1, 1, 3, padding=1),
            loss=lambda net, batch: (net(batch[0]) - batch[1]).square().mean(),
        )

    assert alarms(FreshRandomness(), restoring(0)) == [(Grade.PROVEN, "frozen-augmentation")]
    assert alarms(FreshRandomness(), restoring(None)) == []


def test_workers_that_draw_the_same_numbers_are_proven() -> None:
    causes = {"workers-share-seed"}
    for program in (dealing(OwnNumbers(), num_workers=2), dealing(Crops(), num_workers=2, worker_init_fn=same_seed)):
        assert {cause for _, cause in alarms(FreshRandomness(), program)} == causes


def test_one_worker_that_begins_each_epoch_alike_is_proven() -> None:
    assert alarms(FreshRandomness(), dealing(OwnNumbers(), num_workers=1)) == [(Grade.PROVEN, "frozen-augmentation")]


def test_passes_that_seed_themselves_are_proven_where_items_are_random() -> None:
    def seeded(data: Any) -> Callable[[], Iterator[Any]]:
        def batches() -> Iterator[Any]:
            torch.manual_seed(0)
            yield from DataLoader(data, batch_size=8, shuffle=True)

        return batches

    assert alarms(FreshRandomness(), tiny(model=conv_net, dataset=Crops(), batches=seeded(Crops()))) == [
        (Grade.PROVEN, "frozen-augmentation")
    ]
    fixed = TensorDataset(photographs(), torch.arange(96) % 3)
    assert alarms(FreshRandomness(), tiny(model=conv_net, dataset=fixed, batches=seeded(fixed))) == []


@few_cores
@pytest.mark.parametrize(
    "program",
    [
        dealing(Crops()),
        dealing(Decoded()),
        dealing(OwnNumbers()),
        dealing(Crops(), num_workers=2),
        dealing(Crops(), num_workers=2, worker_init_fn=seed_of_worker),
        dealing(MadeUp(), num_workers=2),
        dealing(Crops(), generator=torch.Generator().manual_seed(0)),
    ],
    ids=[
        "drawn anew",
        "decoded and kept",
        "own numbers, no workers",
        "workers",
        "seeded workers",
        "made up",
        "fixed order",
    ],
)
def test_healthy_randomness_is_left_alone(program: Program) -> None:
    assert alarms(FreshRandomness(), program) == []
