"""Nearest neighbours against plain sorting; ties and bounded blocks."""

from __future__ import annotations

import math

import pytest
import torch

from selfsight.maths import nearest as module
from selfsight.maths.nearest import mean, nearest, unit, vote


def _rows(count: int, width: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("numbers", [50, 2**24])
def test_same_as_sorting_everything(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr(module, "BLOCK_NUMBERS", numbers)  # 50: one query a block
    queries, keys = _rows(37, 8, 0), _rows(101, 8, 1)
    similarity, index = nearest(queries, keys, 5)
    wanted = (queries @ keys.T).sort(dim=1, descending=True)
    assert torch.equal(index, wanted.indices[:, :5])
    assert torch.allclose(similarity, wanted.values[:, :5], atol=1e-6)


def test_itself_is_left_out_and_count_is_limited() -> None:
    rows = _rows(6, 4, 0)
    _, index = nearest(rows, rows, 100, itself=True)
    assert index.shape == (6, 5)
    assert all(query not in found for query, found in enumerate(index.tolist()))


def test_equals_come_in_the_order_of_keys() -> None:
    keys = unit(torch.tensor([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50))
    _, index = nearest(unit(torch.tensor([[0.0, 1.0]])), keys, 3)
    assert index.tolist() == [[50, 51, 52]]


def test_vote_is_the_weighted_vote_of_the_paper() -> None:
    queries, keys = _rows(9, 5, 0), _rows(40, 5, 1)
    labels = torch.arange(40) % 4
    found = vote(queries, keys, labels, classes=5, count=7, temperature=0.07)
    for query in range(9):
        wanted = [0.0] * 5
        ranked = sorted(range(40), key=lambda key: -float(queries[query] @ keys[key]))
        for key in ranked[:7]:
            wanted[int(labels[key])] += math.exp(float(queries[query] @ keys[key]) / 0.07)
        assert found[query].tolist() == pytest.approx([value / sum(wanted) for value in wanted], rel=1e-4)


def test_ties_share_the_last_places_whatever_their_order() -> None:
    """A constant embedding: every key is equally near, so the vote is the classes' share of the keys."""
    keys, labels = torch.ones(90, 3), torch.tensor([0] * 60 + [1] * 30)
    for order in (torch.arange(90), torch.arange(89, -1, -1)):
        found = vote(unit(torch.ones(2, 3)), unit(keys[order]), labels[order], 2, count=20, temperature=0.07)
        assert found[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_a_tie_for_the_last_place_leaves_the_nearer_ones_whole() -> None:
    keys = unit(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    found = vote(unit(torch.tensor([[1.0, 0.0]])), keys, torch.tensor([0, 1, 2]), 3, count=2, temperature=1.0)
    near, far = 1.0, math.exp(-1)
    assert found[0].tolist() == pytest.approx([near / (near + far), far / 2 / (near + far), far / 2 / (near + far)])


def test_mean_is_summed_precisely_and_unit_keeps_zero() -> None:
    rows = torch.full((100_000, 1), 16777.1)
    assert float(mean(rows)[0]) == pytest.approx(16777.1, rel=1e-6)
    assert unit(torch.zeros(1, 3)).tolist() == [[0.0, 0.0, 0.0]]
