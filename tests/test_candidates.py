"""Which images stand beside which."""

import pytest
import torch

from selfsight.candidates import chosen, companions
from selfsight.seeds import generator


def test_companions_are_different_and_everybody_has_the_same_number_of_turns():
    rows = companions(9, 4, generator("rows"))
    assert torch.equal(rows[:, 0], torch.arange(9))
    assert all(len(set(row)) == 4 for row in rows.tolist())
    assert all(sorted(column) == list(range(9)) for column in rows.T.tolist())
    with pytest.raises(ValueError, match="needs a batch of as many, not 3"):
        companions(3, 4, generator("rows"))


def test_every_choice_is_as_frequent():
    marked = chosen(12, 2, 4, generator("choice"))
    assert (marked.sum(1) == 2).all()
    assert sorted(torch.unique(marked, dim=0, return_counts=True)[1].tolist()) == [2] * 6


def test_no_place_is_preferred_where_the_numbers_do_not_divide():
    drawn = generator("many")
    counts = sum(chosen(4, 1, 3, drawn).sum(0) for _ in range(300))
    assert counts.min() > 0.9 * 400
