"""The checks on what enters a network and on pairs of views, with programs as people write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from asking import found
from blobs import alarms, conv_net, noise, of_pictures, photographs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize
from torch.utils.data import DataLoader, Dataset, TensorDataset

from selfsight.check import Grade
from selfsight.checks.fresh_randomness import FreshRandomness
from selfsight.checks.paired_views import PairedViews
from selfsight.checks.what_it_sees import WhatItSees
from selfsight.planted import tiny
from selfsight.program import Program


def reading(data: Any, **more: Any) -> Program:
    return tiny(**{"dataset": data, "batches": lambda: DataLoader(data, batch_size=8, shuffle=True), **more})


# -------------------------------------------------------------------------------------------------- D102, what it sees


def test_axes_that_were_reshaped_are_measured_whatever_was_turned_after() -> None:
    pictures = photographs()
    renamed = pictures.permute(0, 2, 3, 1).reshape(pictures.shape)
    for seen in (renamed, torch.rot90(renamed, 1, (2, 3)), renamed.flip(3) * 3 - 1):
        assert alarms(WhatItSees(), of_pictures(seen)) == [(Grade.MEASURED, "not-what-you-think")]


def test_answers_that_were_reshaped_show_though_noise_hides_the_inputs() -> None:
    def noisy(clean: Tensor) -> Program:
        pairs = TensorDataset(clean + 0.6 * clean.std() * torch.randn(clean.shape), clean)
        return tiny(
            model=lambda: nn.Conv2d(3, 3, 3, padding=1), batches=lambda: DataLoader(pairs, batch_size=8),
            loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        )  # fmt: skip

    pictures = photographs()
    assert alarms(WhatItSees(), noisy(pictures)) == []
    renamed = pictures.permute(0, 2, 3, 1).reshape(pictures.shape)
    assert alarms(WhatItSees(), noisy(renamed)) == [(Grade.MEASURED, "not-what-you-think")]


def test_noise_in_the_place_of_pictures_is_proven() -> None:
    some = photographs()
    some[::2] = 0.2 * noise(48, 3, 16, 16)
    assert alarms(WhatItSees(), of_pictures(some)) == [(Grade.PROVEN, "not-what-you-think")]
    a_class_of_its_own = torch.arange(len(some)) % 2
    assert alarms(WhatItSees(), of_pictures(some, a_class_of_its_own)) == []
    assert alarms(WhatItSees(), of_pictures(photographs() + 3 * noise(96, 3, 16, 16))) == []


def test_grey_repeated_along_the_wrong_dimension_is_proven() -> None:
    grey = photographs()[:, :1]
    tiled = grey.repeat(1, 1, 1, 3).reshape(-1, 3, 16, 16)
    assert alarms(WhatItSees(), of_pictures(tiled)) == [(Grade.PROVEN, "not-what-you-think")]
    assert [finding.grade for finding in found(WhatItSees(), of_pictures(grey.repeat(1, 3, 1, 1)))] == [Grade.NOTE]


class Permuting(nn.Module):
    """Takes bytes, channels last, and puts them in order itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = conv_net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize(
    "program",
    [
        of_pictures(photographs().contiguous(memory_format=torch.channels_last)),
        of_pictures((photographs() * 200).byte().permute(0, 2, 3, 1).contiguous(), model=Permuting),
        of_pictures(noise(96, 3, 16, 16)),
        of_pictures((photographs() > 0.6).float()),
        of_pictures(torch.sin(2.1 * torch.arange(16.0)).expand(96, 3, 16, 16) * noise(96, 1, 1, 1)),
        of_pictures(photographs() * (noise(96, 1, 16, 16) < -0.7)),
    ],
    ids=["channels last in memory", "bytes, permuted inside", "noise", "two levels", "gratings", "masked"],
)
def test_pictures_that_are_right_are_left_alone(program: Program) -> None:
    assert alarms(WhatItSees(), program) == []


def test_pictures_that_failed_to_decode_are_proven_and_black_ones_of_one_class_are_not() -> None:
    pictures = photographs()
    failed = torch.where((torch.arange(96) % 5 < 2)[:, None, None, None], 0.0, pictures)
    normalised = (failed - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / 0.25
    assert alarms(WhatItSees(), of_pictures(normalised)) == [(Grade.PROVEN, "not-what-you-think")]
    empty = torch.arange(96) % 3 == 1  # a third of the slices show nothing, and that is their class
    slices = torch.where(empty[:, None, None, None], 0.0, pictures)
    assert [finding.grade for finding in found(WhatItSees(), of_pictures(slices))] == [Grade.NOTE]


def test_numbers_that_are_not_finite_are_proven_only_where_they_reach_the_loss() -> None:
    pictures = photographs()
    pictures[5, :, 2, 2] = torch.nan
    assert (Grade.PROVEN, "not-what-you-think") in alarms(WhatItSees(), of_pictures(pictures))

    class Fills(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = conv_net()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.nan_to_num(0.0))

    assert alarms(WhatItSees(), of_pictures(pictures, model=Fills)) == []


def test_one_picture_for_every_example_is_proven_unless_there_is_but_one() -> None:
    one = photographs()[:1].expand(96, -1, -1, -1)
    assert (Grade.PROVEN, "not-what-you-think") in alarms(WhatItSees(), of_pictures(one))
    image = photographs()[:1]
    prior = tiny(
        batches=lambda: [(torch.ones(1, 3, 16, 16), image)] * 8,
        model=lambda: nn.Conv2d(3, 3, 3, padding=1),
        loss=lambda model, batch: mse_loss(model(batch[0]), batch[1]),
    )
    assert alarms(WhatItSees(), prior) == []


class Normalize:
    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = mean, std

    def __call__(self, picture: Tensor) -> Tensor:
        return (picture - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


class Transformed(Dataset[Any]):
    def __init__(self, *transforms: Any) -> None:
        self.pictures = photographs()
        self.transform = SimpleNamespace(transforms=list(transforms))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        picture = self.pictures[i]
        for step in self.transform.transforms:
            picture = step(picture)
        return picture, i % 3


def test_the_same_normalisation_twice_in_a_chain_is_proven() -> None:
    def program(*transforms: Any) -> Program:
        return reading(Transformed(*transforms), model=conv_net)

    once, back = Normalize([0.5] * 3, [0.2] * 3), Normalize([-2.5] * 3, [5.0] * 3)
    assert (Grade.PROVEN, "scale-mismatch") in alarms(WhatItSees(), program(once, Normalize([0.5] * 3, [0.2] * 3)))
    assert alarms(WhatItSees(), program(once, back)) == []


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


# ---------------------------------------------------------------------------------------------------------- D104, pairs


class TwoCrops(Crops):
    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().__getitem__(i)[0], super().__getitem__(i)[0]


def agreement(model: nn.Module, batch: Any) -> Tensor:
    one, two = normalize(model(batch[0])), normalize(model(batch[1]))
    return cross_entropy(one @ two.T / 0.2, torch.arange(len(one)))


def pairs_of(data: Any, change: Callable[[Any], Any] = lambda batch: batch, **more: Any) -> Program:
    def batches() -> Iterator[Any]:
        return (change(batch) for batch in DataLoader(data, batch_size=12, shuffle=True))

    members = {
        "views": lambda batch: (batch[0], batch[1]),
        "model": lambda: conv_net(8),
        "loss": agreement,
        "dataset": data,
    }
    return tiny(**{"batches": batches, **members, **more})


def in_other_rows(batch: Any) -> Any:
    return batch[0], batch[1][torch.randperm(len(batch[1]))]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda batch: (batch[0], batch[0].clone()), (Grade.PROVEN, "views-identical")),
        (lambda batch: (batch[0], batch[1].roll(1, 0)), (Grade.MEASURED, "views-misaligned")),
        (in_other_rows, (Grade.MEASURED, "views-misaligned")),
    ],
    ids=["identical", "rolled", "not un-shuffled"],
)
def test_pairs_that_are_none_are_found(change: Any, expected: tuple[Grade, str]) -> None:
    assert alarms(PairedViews(), pairs_of(TwoCrops(), change)) == [expected]


def test_a_shift_is_told() -> None:
    (finding,) = found(PairedViews(), pairs_of(TwoCrops(), lambda batch: (batch[0], batch[1].roll(3, 0))))
    assert finding.evidence["shift"] == 3


class WrongPartner(TwoCrops):
    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return super().__getitem__(i)[0], super().__getitem__(int(torch.randint(len(self), ())))[0]


def test_partners_from_elsewhere_are_noted_and_nothing_is_said_of_what_cannot_be_told() -> None:
    assert [finding.cause for finding in found(PairedViews(), pairs_of(WrongPartner()))] == ["views-unrelated"]

    class Nothing(TwoCrops):  # augmented until nothing is left
        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
            return torch.randn(3, 16, 16), torch.randn(3, 16, 16)

    assert found(PairedViews(), pairs_of(Nothing())) == []


class Dropping(nn.Module):
    """One picture twice, and dropout makes the difference (Gao et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = conv_net(8)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.net(x), 0.2)


def frames(data: Tensor) -> Callable[[], Iterator[Any]]:
    """Unshuffled films: each frame, and the next one."""

    def batches() -> Iterator[Any]:
        for start in range(0, len(data) - 13, 12):
            yield data[start : start + 12], data[start + 1 : start + 13]

    return batches


@pytest.mark.parametrize(
    "program",
    [
        pairs_of(TwoCrops()),
        pairs_of(TwoCrops(), lambda batch: (batch[0], (batch[1] + 0.5 * torch.randn_like(batch[1])).flip(3))),
        pairs_of(TwoCrops(), lambda batch: (batch[0], batch[0]), model=Dropping),
        pairs_of(TwoCrops(), batches=frames(photographs(98).cumsum(0))),
        pairs_of(TwoCrops(), views=lambda batch: (batch[0], batch[1].flatten(1))),
    ],
    ids=["crops", "noisy and mirrored", "dropout instead of views", "films", "unlike shapes"],
)
def test_healthy_pairs_are_left_alone(program: Program) -> None:
    assert alarms(PairedViews(), program) == []


class Weigher(nn.Module):
    """Which of two pictures is brighter? Both enter one call."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = conv_net(8)
        self.head = nn.Linear(16, 1)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.head(torch.cat([self.encoder(one), self.encoder(two)], 1))[:, 0]


def test_one_picture_in_two_places_is_proven() -> None:
    pictures = photographs()

    def program(second: Tensor) -> Program:
        brighter = (pictures.mean((1, 2, 3)) > second.mean((1, 2, 3))).float()
        data = TensorDataset(pictures, second, brighter)
        return tiny(
            batches=lambda: DataLoader(data, batch_size=16, shuffle=True),
            model=Weigher,
            loss=lambda model, batch: mse_loss(model(batch[0], batch[1]), batch[2]),
        )

    assert alarms(PairedViews(), program(pictures.clone())) == [(Grade.PROVEN, "wrong-input-slot")]
    assert alarms(PairedViews(), program(pictures.roll(1, 0))) == []


def test_two_views_that_are_seeded_by_their_index_are_proven() -> None:
    class Fixed(Crops):
        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            torch.manual_seed(i)
            return super().__getitem__(i)[0], super().__getitem__(i)[0]

    program = pairs_of(Fixed())
    assert alarms(FreshRandomness(), program) == [(Grade.PROVEN, "frozen-augmentation")]
