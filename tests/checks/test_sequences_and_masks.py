"""What stands beside a picture or behind a word: every cause fires on the mistake as people write it, healthy oddities stay silent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asking import found
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from selfsight.case import examining
from selfsight.check import DoesNotApply
from selfsight.checks.repeated_input import RepeatedInput
from selfsight.checks.turned_masks import TurnedMasks
from selfsight.planted import tiny
from selfsight.program import Program

# ------------------------------------------------------------------------------------------- Y108: asked for the given


class Encoder(nn.Module):
    """Sees the whole sequence: to say it again may be what is wanted, through a narrow code for one."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read, self.say = (
            nn.Embedding(5, 8),
            nn.GRU(8, 8, batch_first=True, bidirectional=True),
            nn.Linear(16, 5),
        )

    def forward(self, given: Tensor) -> Tensor:
        return self.say(self.read(self.embed(given))[0])


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(5, 8), nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
        self.say = nn.Linear(8, 5)

    def forward(self, given: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(given.shape[1])
        return self.say(self.layer(self.embed(given), src_mask=mask, is_causal=True))


def texts() -> Any:
    return DataLoader(torch.randint(5, (64, 9), generator=torch.Generator().manual_seed(0)), batch_size=16)  # type: ignore[arg-type]


def of_what_it_reads(net: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(net(batch).flatten(0, 1), batch.flatten())


def of_what_follows(net: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


@pytest.mark.parametrize(
    ("program", "causes"),
    [
        (tiny(model=Causal, batches=texts, loss=of_what_it_reads), ["targets-unshifted"]),
        (tiny(model=Causal, batches=texts, loss=of_what_follows), []),
        (tiny(model=Encoder, batches=texts, loss=of_what_it_reads), []),
        (tiny(model=Encoder, batches=texts, loss=of_what_follows), ["sees-the-answer"]),
    ],
    ids=["asked for what it reads", "asked for what follows", "sees the whole", "sees what follows"],
)
def test_targets_that_are_the_input(program: Program, causes: list[str]) -> None:
    assert [finding.cause for finding in found(RepeatedInput(), program)] == causes


# ------------------------------------------------------------------------------------------ D106: pictures and masks


class Hidden(Dataset[Any]):
    """Pictures turned over by even chance, and which pixels are to be hidden, drawn anew each time."""

    def __init__(self) -> None:
        self.pictures = torch.rand(20, 3, 10, 12, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        shown = self.pictures[index]
        return shown.flip(-1) if torch.rand(()) < 0.5 else shown, (torch.rand(10, 12) < 0.5).float()


class Pairs(Dataset[Any]):
    """Pictures, and a number for each pixel. Kinds: what is turned by even chance."""

    def __init__(self, turns: str, noise: float = 0.0, symmetric: bool = False) -> None:
        self.turns, self.noise = turns, noise
        self.pictures = torch.rand(20, 3, 10, 12, generator=torch.Generator().manual_seed(0))
        if symmetric:
            self.pictures = (self.pictures + self.pictures.flip(-1)) / 2

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        shown = self.pictures[index]
        mask = (shown.mean(0) * 4).long()
        if torch.rand(()) < 0.5:
            shown = shown.flip(-1) if "shown" in self.turns else shown
            mask = mask.flip(-1) if "mask" in self.turns else mask
        if torch.rand(()) < 0.5 and "over" in self.turns:
            shown = shown.flip(-2)
        return shown + self.noise * torch.randn(shown.shape), mask


@pytest.mark.parametrize(
    ("data", "causes"),
    [
        (Pairs("shown"), ["mask-not-turned"]),
        (Pairs("over"), ["mask-not-turned"]),
        (Pairs("shown mask"), []),
        (Pairs(""), []),
        (Pairs("shown mask", noise=0.1), []),
        (Pairs("shown", symmetric=True), []),
        (Hidden(), []),
    ],
    ids=["left to right", "upside down", "together", "never", "with noise", "symmetric", "drawn anew"],
)
def test_masks_that_stand_still(data: Dataset[Any], causes: list[str]) -> None:
    assert [finding.cause for finding in found(TurnedMasks(), tiny(dataset=data))] == causes


def test_items_without_masks_are_not_asked() -> None:
    with (
        examining(tiny(dataset=[(torch.rand(3, 8, 8), 1)] * 20)) as case,
        pytest.raises(DoesNotApply, match="picture and a mask"),
    ):
        TurnedMasks().ask(case)
