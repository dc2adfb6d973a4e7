"""How many tokens a picture needs, by search and in one look."""

import pytest
import torch

from selfsight.lengths import Lengths, at_mean, error_at, needed
from selfsight.seeds import generator

ERRORS = torch.tensor([[1.0, 0.5, 0.2, 0.1], [1.0, 0.9, 0.9, 0.9], [0.1, 0.05, 0.02, 0.0]])


def test_the_first_length_that_is_enough():
    assert needed(ERRORS, 0.2).tolist() == [2, 3, 1]
    assert needed(ERRORS, 0.15).tolist() == [3, 3, 1]
    assert needed(ERRORS, 5.0).tolist() == [1, 1, 1], "a spelling has a token at least"
    assert error_at(ERRORS, needed(ERRORS, 0.2)).tolist() == pytest.approx([0.2, 0.9, 0.05])


def made(n, seed, noise=0.0):
    """Clues of pictures, and errors that follow from them up to noise."""
    draws = generator(seed)
    hard = torch.randn(n, 1, generator=draws)
    curve = -0.4 * torch.arange(9) + hard * (1 + 0.1 * torch.arange(9))
    return torch.cat([hard, torch.randn(n, 2, generator=draws)], 1), (
        curve - 3 + noise * torch.randn(n, 9, generator=draws)
    ).exp()


def test_a_rule_that_can_be_known_is_found():
    rule = Lengths.fit(*made(400, "fit"))
    clues, errors = made(200, "asked")
    assert torch.allclose(rule.errors(clues)[:, 1:].log(), errors[:, 1:].double().log(), atol=0.1)
    assert (rule.errors(clues).diff(dim=1) <= 0).all()
    assert (rule.needed(clues, 0.03) - needed(errors, 0.03)).abs().double().mean() < 0.1


def test_ways_of_choosing_are_compared_at_the_same_mean_length():
    clues, errors = made(500, "compared")
    _, searched = at_mean(errors, errors, 4.0)
    _, foreseen = at_mean(errors, Lengths.fit(*made(400, "fit")).errors(clues), 4.0)
    _, blind = at_mean(errors, errors.mean(0, keepdim=True).expand_as(errors), 4.0)
    assert blind == pytest.approx(float(errors[:, 4].mean()), rel=1e-3)
    assert searched <= foreseen * 1.001 < blind
    short, _ = at_mean(errors, errors, 4.0)
    assert 3.8 < short.double().mean() <= 4.0


def test_one_picture_is_too_few_for_a_rule():
    with pytest.raises(ValueError, match="two or more"):
        Lengths.fit(torch.ones(1, 3), torch.ones(1, 4))
