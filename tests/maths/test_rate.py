"""What rounded numbers cost, and an orthonormal basis that is counted."""

import math

import pytest
import torch

from selfsight.maths.basis import analysed, composed, cosines, moments, principal
from selfsight.maths.rate import laplace_bits, levels, width
from selfsight.seeds import generator


def test_shares_of_all_whole_numbers_sum_to_one():
    scale, step, most = torch.tensor([1.0]), torch.tensor([0.3]), torch.tensor([500.0])
    whole = torch.arange(-400.0, 401.0)[:, None]
    assert float((2 ** -laplace_bits(whole, scale, step, most)).sum()) == pytest.approx(1, abs=1e-4)


def test_the_estimate_is_the_entropy_of_laplace_numbers():
    draws = torch.rand(200_000, 1, generator=generator("laplace")) - 0.5
    value = -draws.sign() * (1 - 2 * draws.abs()).clamp(min=1e-9).log() / math.sqrt(2)  # deviation 1
    whole = (value / 0.5).round()
    counts = whole.unique(return_counts=True)[1] / len(whole)
    entropy = float(-(counts * counts.log2()).sum())
    told = laplace_bits(whole, torch.ones(1), torch.tensor([0.5]), torch.tensor([99.0]))
    assert float(told.mean()) == pytest.approx(entropy, rel=5e-3)


def test_widths_hold_their_levels_and_small_numbers_are_not_sent():
    most = levels(torch.tensor([1.0, 0.1, 0.01]), torch.full((3,), 0.5))
    assert most.tolist() == [8, 1, 0]
    assert width(most).tolist() == [5, 2, 0]
    assert laplace_bits(torch.zeros(1, 3), torch.ones(3), torch.full((3,), 0.5), most)[0, 2] == 0


def test_a_basis_keeps_lengths_and_gives_back():
    x = torch.randn(5, 3, 8, 6, generator=generator("basis"))
    bases = (cosines(3), cosines(8), principal(moments(x)[2]))
    z = analysed(x, bases)
    assert torch.allclose(z.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)), rtol=1e-4)
    assert torch.allclose(composed(z, bases), x, atol=1e-5)


def test_principal_directions_come_first():
    x = torch.zeros(50, 1, 4, 5)
    x[:, 0, 2] = torch.randn(50, 5, generator=generator("row"))  # all there is lies in the third row
    rows = principal(moments(x)[1])
    assert rows[:, 0].tolist() == pytest.approx([0, 0, 1, 0], abs=1e-5)
