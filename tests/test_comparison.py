"""Candidates are judged each by itself."""

from typing import get_args

import pytest
import torch

from selfsight.comparison import By, Comparison

KINDS = get_args(By)


@pytest.fixture(params=KINDS)
def head(request):
    torch.manual_seed(0)
    return Comparison(by=request.param, hidden=16).build(8)


def test_scores_follow_the_candidates(head):
    asked, candidates, order = torch.randn(5, 8), torch.randn(5, 4, 8), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(head(asked, candidates)[:, order], head(asked, candidates[:, order]), atol=1e-6)


def test_no_other_candidate_or_example_has_a_say(head):
    head.train()
    asked, candidates = torch.randn(5, 8), torch.randn(5, 4, 8)
    other = torch.randn(5, 4, 8)
    other[2, 1] = candidates[2, 1]
    asked_otherwise = torch.randn(5, 8)
    asked_otherwise[2] = asked[2]
    assert torch.allclose(head(asked, candidates)[2, 1], head(asked_otherwise, other)[2, 1], atol=1e-6)


def test_the_size_of_the_features_does_not_matter(head):
    asked, candidates = torch.randn(5, 8), torch.randn(5, 4, 8)
    assert torch.allclose(head(asked, candidates), head(100 * asked, 1e-3 * candidates), atol=1e-5)


def test_likeness_sees_which_candidate_is_the_picture():
    asked = torch.randn(6, 8)
    candidates = torch.randn(6, 4, 8)
    candidates[:, 2] = 3 * asked
    for by in ("dot", "cosine"):
        assert (Comparison(by=by).build(8)(asked, candidates).argmax(1) == 2).all()


def test_several_answers_per_candidate():
    assert Comparison(by="difference").build(8, answers=3)(torch.randn(2, 8), torch.randn(2, 4, 8)).shape == (2, 4, 3)
    with pytest.raises(ValueError, match="one score"):
        Comparison(by="dot").build(8, answers=2)
