"""No puzzle is answered by colours and borders: the features of R703, of every picture that the network is shown."""

from __future__ import annotations

import pytest
import torch

from selfsight import tasks
from selfsight.batch import Batch, Now
from selfsight.checks.shortcut import HALF, _solved
from selfsight.observations.pictures import low_level
from selfsight.seeds import generator

PUZZLES = (
    tasks.Rotation(), tasks.Quadrants(), tasks.OddOneOut(), tasks.Grid(), tasks.Elsewhere(), tasks.WhichTransform(),
    tasks.SameOrDifferent(), tasks.Split(),
)  # fmt: skip
"""Those whose answer is a class. Not Scale: how bright a picture is, is what it asks."""


@pytest.fixture(scope="module")
def drawn(photographs) -> torch.Tensor:
    """(240, 3, 32, 32) uint8"""
    return torch.from_numpy(photographs).permute(0, 3, 1, 2)


def reach(task, images: torch.Tensor) -> float:
    """The share of the way from the commonest answer to all right that a linear model goes; of several answers to a
    picture, of the first."""
    asked = [task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator(i))) for i in range(2)]
    shown, answer = (torch.cat(parts) for parts in zip(*((one.inputs, one.answer) for one in asked), strict=True))
    features = [low_level(picture) for picture in shown.unbind(1)[:4]]
    if len(features) == 2:
        features.append((features[0] - features[1]).abs())
    right, usual, count = _solved(torch.cat(features, 1), answer.reshape(len(answer), -1)[:, 0].long())
    return (right - usual) / (count - usual)


@pytest.mark.parametrize("task", PUZZLES, ids=lambda task: type(task).__name__)
def test_a_linear_rule_of_colours_and_borders_does_not_answer_it(task, drawn):
    assert reach(task, drawn) < HALF


def test_such_a_rule_answers_what_brightness_tells(drawn):
    assert reach(tasks.Scale(), drawn) > HALF
