"""The checks on answers: sorted batches, numbering, constants and shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from asking import found
from blobs import alarms, conv_net, noise, of_pictures, photographs
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, normalize
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from selfsight.check import Grade
from selfsight.checks.batch_variety import BatchVariety
from selfsight.checks.label_map import LabelMap
from selfsight.checks.shortcut import Shortcut
from selfsight.checks.targets import Targets
from selfsight.checks.unrelated_labels import UnrelatedLabels
from selfsight.observations.numbering import renumbered, understood
from selfsight.planted import Quarters, tiny
from selfsight.program import Program

# -------------------------------------------------------------------------------------------------------- D105, batches


def sorted_program(shuffle: bool, one_hot: bool = False) -> Program:
    labels = (torch.arange(96) * 6 // 96).long()
    told = nn.functional.one_hot(labels, 6).float() if one_hot else labels
    return of_pictures(
        photographs(), told, model=lambda: conv_net(6),
        batches=lambda: DataLoader(TensorDataset(photographs(), told), batch_size=12, shuffle=shuffle),
    )  # fmt: skip


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_in_order_are_measured_and_shuffled_ones_are_not(one_hot: bool) -> None:
    assert alarms(BatchVariety(), sorted_program(False, one_hot)) == [(Grade.MEASURED, "sorted-batches")]
    assert alarms(BatchVariety(), sorted_program(True, one_hot)) == []


def test_unshuffled_pictures_of_one_sort_are_measured_without_labels() -> None:
    scenes = photographs(8).repeat_interleave(12, 0) + 0.1 * noise(96, 3, 16, 16)

    def program(pictures: Tensor) -> Program:
        return tiny(
            batches=lambda: DataLoader(pictures, batch_size=12),  # type: ignore[arg-type]
            model=lambda: nn.Conv2d(3, 3, 3, padding=1),
            loss=lambda model, batch: mse_loss(model(batch), batch),
        )

    assert alarms(BatchVariety(), program(scenes)) == [(Grade.MEASURED, "sorted-batches")]
    mixed = scenes[torch.randperm(96, generator=torch.Generator().manual_seed(0))]
    assert alarms(BatchVariety(), program(mixed)) == []


def some_of_each_class() -> Iterator[Any]:
    """Four classes, four of each: the batches of a triplet loss."""
    for number in range(8):
        drawn = torch.Generator().manual_seed(number)
        labels = torch.randperm(30, generator=drawn)[:4].repeat_interleave(4)
        yield torch.randn(16, 3, 16, 16, generator=drawn), labels


def lengths_and_words() -> Iterator[Any]:
    """Sentences in buckets of one length; the next word is the answer."""
    for number in range(8):
        words = torch.randint(20, (16, 4 + number), generator=torch.Generator().manual_seed(number))
        yield words, torch.full((16,), 4 + number)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.embedding(words))


def next_word(model: nn.Module, batch: Any) -> Tensor:
    words, lengths = batch
    losses = cross_entropy(model(words[:, :-1]).transpose(1, 2), words[:, 1:], reduction="none").sum(1)
    return (losses / (lengths - 1)).mean()


@pytest.mark.parametrize(
    "program",
    [
        of_pictures(photographs(), model=lambda: conv_net(30), batches=some_of_each_class),
        tiny(batches=lengths_and_words, model=Words, loss=next_word),
        of_pictures(
            photographs(), batches=lambda: [(photographs(), torch.arange(96) // 32)] * 3
        ),  # one sorted batch that holds everything
        of_pictures(photographs(), torch.arange(96) // 95),  # one rare answer
    ],
    ids=["some of each class", "buckets of lengths", "the whole set in one batch", "one rare answer"],
)
def test_batches_that_are_uneven_on_purpose_are_left_alone(program: Program) -> None:
    assert alarms(BatchVariety(), program) == []


# --------------------------------------------------------------------------------------------------------- Y106, Y107


class Folder(Dataset[Any]):
    """Numbers the folders that it finds."""

    def __init__(self, names: list[str], seed: int = 0) -> None:
        self.class_to_idx = {name: i for i, name in enumerate(names)}
        self.data = Quarters()
        self.names = [names[i % len(names)] for i in range(64)]

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.data[i][0], self.class_to_idx[self.names[i]]


def test_tables_that_disagree_are_proven_through_wrappers() -> None:
    def program(held: Folder) -> Program:
        training = Subset(Folder(["cat", "dog", "owl"]), range(48))
        return tiny(
            dataset=training,
            batches=lambda: DataLoader(training, batch_size=8, shuffle=True),
            validation=lambda: DataLoader(Subset(held, range(32)), batch_size=8),
        )

    (finding,) = [one for one in found(LabelMap(), program(Folder(["dog", "owl"]))) if one.alarms]
    assert finding.grade is Grade.PROVEN and finding.cause == "label-map" and "dog" in finding.sentence
    assert alarms(LabelMap(), program(Folder(["cat", "dog", "owl"]))) == []


def held_out(change: Callable[[Tensor], Tensor], picture: Callable[[Tensor, int], Tensor] = lambda x, y: x) -> Program:
    """Answers of the validation changed, and perhaps its pictures by their class; no names anywhere."""
    whole = Quarters(240)
    training = [whole[i] for i in range(120)]
    held = [(picture(whole[i][0], int(whole[i][1])), change(whole[i][1])) for i in range(120, 240)]
    return tiny(
        batches=lambda: DataLoader(training, batch_size=12, shuffle=True),  # type: ignore[arg-type]
        validation=lambda: DataLoader(held, batch_size=40),  # type: ignore[arg-type]
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: cross_entropy(logits, batch[1]),
    )


def test_another_numbering_of_the_validation_is_measured_and_a_shift_of_its_pictures_is_not() -> None:
    assert alarms(LabelMap(), held_out(lambda label: (label + 1) % 3)) == [(Grade.MEASURED, "label-map")]
    assert alarms(LabelMap(), held_out(lambda label: label)) == []
    assert (
        alarms(LabelMap(), held_out(lambda label: label, lambda x, y: noise(*x.shape, seed=int(1e4 * x.abs().sum()))))
        == []
    )


def test_answers_that_belong_to_no_picture_are_no_question_of_numbering() -> None:
    whole, drawn = Quarters(240), torch.Generator().manual_seed(3)
    training = [(whole[i][0], torch.randint(3, (), generator=drawn)) for i in range(120)]
    program = held_out(lambda label: label)
    program = tiny(
        batches=lambda: DataLoader(training, batch_size=12, shuffle=True),  # type: ignore[arg-type]
        **{name: getattr(program, name) for name in ("validation", "predict", "criterion")},
    )
    assert alarms(LabelMap(), program) == []


def test_predictions_count_as_understanding_only_above_the_commonest_answer() -> None:
    told = torch.arange(120) % 3
    assert understood(told, told) and understood(torch.where(torch.arange(120) < 80, told, 0), told)
    assert not understood((told + 1) % 3, told) and not understood(torch.zeros(120, dtype=torch.long), told)
    assert renumbered((told + 1) % 3, told) is not None and renumbered(told, told) is None


def test_the_program_itself_is_asked_where_neighbours_tell_nothing() -> None:
    """Stripes of random strength, two pixels wide, down or across: a thumbnail shows nothing of them."""

    def items(count: int, seed: int, turn: int) -> list[Any]:
        drawn = torch.Generator().manual_seed(seed)
        made = []
        for _ in range(count):
            y = int(torch.randint(2, (), generator=drawn))
            stripe = torch.tensor([[1.0, -1.0]]).repeat(2, 1).rot90(y).contiguous()
            cells = torch.kron(torch.randn(8, 8, generator=drawn), stripe)
            made.append((cells[None] + 0.1 * torch.randn(1, 16, 16, generator=drawn), (y + turn) % 2))
        return made

    def program(turn: int) -> Program:
        training, held = items(512, 0, 0), items(160, 1, turn)
        return tiny(
            batches=lambda: DataLoader(training, batch_size=16, shuffle=True),  # type: ignore[arg-type]
            validation=lambda: DataLoader(held, batch_size=40),  # type: ignore[arg-type]
            model=lambda: nn.Sequential(
                nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 2)
            ),
            optimizer=lambda model: torch.optim.Adam(model.parameters(), 1e-2),
            predict=lambda model, batch: model(batch[0]),
            criterion=lambda logits, batch: cross_entropy(logits, batch[1]),
        )

    (finding,) = [one for one in found(LabelMap(), program(1)) if one.alarms]
    assert finding.grade is Grade.MEASURED and "short training" in finding.sentence
    assert alarms(LabelMap(), program(0)) == []


@pytest.mark.parametrize("value", [0, 2])
def test_one_answer_for_all_is_proven(value: int) -> None:
    constant = torch.full((96,), value)
    assert alarms(Targets(), of_pictures(photographs(), constant)) == [(Grade.PROVEN, "target-constant")]


def test_one_number_for_all_is_proven_in_a_regression() -> None:
    data = TensorDataset(photographs(), torch.zeros(96, 1))
    program = tiny(
        batches=lambda: DataLoader(data, batch_size=16, shuffle=True),
        model=lambda: conv_net(1),
        loss=lambda model, batch: mse_loss(model(batch[0]).sigmoid(), batch[1]),
    )
    assert alarms(Targets(), program) == [(Grade.PROVEN, "target-constant")]


def place_nought() -> Iterator[Any]:
    """A contrastive batch that brings its answers: the partner is always in place 0."""
    for seed in range(8):
        one = photographs(12, seed=seed)
        yield one + 0.05 * noise(*one.shape, seed=seed), one, torch.zeros(12, dtype=torch.long)


def among_others(model: nn.Module, batch: Any) -> Tensor:
    one, two = normalize(model(batch[0])), normalize(model(batch[1]))
    others = (one @ two.T)[~torch.eye(len(one), dtype=torch.bool)].view(len(one), -1)
    return cross_entropy(torch.cat([(one * two).sum(1, keepdim=True), others], 1) / 0.2, batch[2])


def ranked(model: nn.Module, batch: Any) -> Tensor:
    return nn.functional.margin_ranking_loss(
        model(batch[0])[:, 0], model(batch[1])[:, 0], batch[2].float() + 1, margin=0.5
    )


@pytest.mark.parametrize(
    "program",
    [
        tiny(batches=place_nought, model=lambda: conv_net(8), loss=among_others),
        tiny(batches=place_nought, model=lambda: conv_net(1), loss=ranked),
        of_pictures(photographs(640), (torch.arange(640) == 400).long()),
    ],
    ids=["the partner is in place 0", "the first is always more", "one rare answer"],
)
def test_answers_that_are_constant_by_design_are_left_alone(program: Program) -> None:
    assert alarms(Targets(), program) == []


def test_a_shortcut_is_a_note_at_most() -> None:
    pictures, labels = photographs(), torch.arange(96) % 3
    tinted = pictures + labels[:, None, None, None] * torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    assert [finding.grade for finding in found(Shortcut(), of_pictures(tinted, labels))] == [Grade.NOTE]
    assert found(Shortcut(), of_pictures(pictures, labels)) == []


# ------------------------------------------------------------------------------------------------ B804, answers of one number


def measured(shuffled: bool) -> Program:
    """How much light is in the left half, of noisy pictures; or of other pictures."""
    drawn = torch.Generator().manual_seed(0)
    pictures = torch.randn(192, 1, 8, 8, generator=drawn) + torch.randn(192, 1, 1, 1, generator=drawn)
    light = pictures[:, :, :, :4].mean((1, 2, 3))
    answers = light[torch.randperm(192, generator=drawn)] if shuffled else light
    pairs = TensorDataset(pictures, (answers - answers.mean()) / answers.std())
    return tiny(
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)),
        batches=lambda: DataLoader(pairs, batch_size=16, shuffle=True),
        loss=lambda model, batch: (model(batch[0])[:, 0] - batch[1]).square().mean(),
    )


def test_numbers_of_other_pictures_are_unrelated_answers() -> None:
    assert [finding.cause for finding in found(UnrelatedLabels(), measured(True)) if finding.alarms] == [
        "labels-unrelated"
    ]
    assert found(UnrelatedLabels(), measured(False)) == []


# ------------------------------------------------------------------------------------- B804, several labels, and masks


def several(shuffled: bool) -> Program:
    """Which of three quarters are bright; or which are in another picture."""
    drawn = torch.Generator().manual_seed(0)
    held = (torch.rand(192, 3, generator=drawn) < 0.4).float()
    pictures = 0.3 * torch.randn(192, 1, 8, 8, generator=drawn)
    for kind in range(3):
        row, column = divmod(kind, 2)
        pictures[:, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += held[:, kind, None, None]
    pairs = TensorDataset(pictures, held[torch.randperm(192, generator=drawn)] if shuffled else held)
    return tiny(
        batches=lambda: DataLoader(pairs, batch_size=16, shuffle=True),
        loss=lambda model, batch: binary_cross_entropy_with_logits(model(batch[0]), batch[1]),
    )


def masked(shuffled: bool) -> Program:
    """Where a square is bright; or where one is in another picture."""
    drawn = torch.Generator().manual_seed(0)
    masks = torch.zeros(192, 1, 8, 8)
    for mask, (row, column) in zip(masks, torch.randint(0, 5, (192, 2), generator=drawn).tolist(), strict=True):
        mask[0, row : row + 4, column : column + 4] = 1
    pictures = masks + 0.3 * torch.randn(192, 1, 8, 8, generator=drawn)
    pairs = TensorDataset(pictures, masks[torch.randperm(192, generator=drawn)] if shuffled else masks)
    return tiny(
        model=lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8))
        ),
        batches=lambda: DataLoader(pairs, batch_size=16, shuffle=True),
        loss=lambda model, batch: binary_cross_entropy_with_logits(model(batch[0]), batch[1]),
    )


@pytest.mark.parametrize("program", [several, masked])
def test_several_labels_and_masks_of_other_pictures_are_unrelated(program: Callable[[bool], Program]) -> None:
    told = [finding for finding in found(UnrelatedLabels(), program(True)) if finding.alarms]
    assert [finding.cause for finding in told] == ["labels-unrelated"]
    what, before, after = told[0].tried
    assert what == "inputs that show their labels"
    assert before < 0.1 < 0.5 <= after
    assert found(UnrelatedLabels(), program(False)) == []
