"""Label-free numbers on embeddings whose quality is known by construction, their blind spots included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsight.maths.matching import view_retrieval
from selfsight.maths.spectrum import alpha, effective_rank, principal, spread
from selfsight.maths.uniformity import alignment, uniformity

N, D = 2048, 64


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _power_law(exponent: float) -> Tensor:
    return _normal(20_000, 128) * torch.arange(1, 129).pow(-exponent / 2)


ISOTROPIC = _normal(N, D)
RANK_4 = _normal(N, 4) @ _normal(4, D, seed=1)
COLLAPSED = torch.ones(N, D) + 1e-3 * _normal(N, D)
OFFSET = _normal(N, D) + 5 * torch.ones(D)
ANTIPODAL = torch.sign(_normal(N, 1)) @ _normal(1, D, seed=1)


def test_effective_rank_is_the_formula() -> None:
    z = _normal(50, 6) * torch.arange(1, 7)
    values = torch.linalg.svdvals(z.double())
    share = values / values.sum() + 1e-7
    assert effective_rank(z) == pytest.approx(float(torch.exp(-(share * share.log()).sum())), rel=1e-6)


def test_effective_rank_knows_the_rank() -> None:
    assert effective_rank(ISOTROPIC) > 0.98 * D
    assert 3.5 < effective_rank(RANK_4) <= 4.01
    assert effective_rank(ANTIPODAL) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.zeros(10, 3)) == 1.0


def test_effective_rank_with_more_features_than_images() -> None:
    assert effective_rank(_normal(20, 500)) == pytest.approx(effective_rank(_normal(20, 500).T), rel=1e-9)


def test_what_centring_hides_and_what_it_forgives() -> None:
    assert effective_rank(COLLAPSED) < 1.2  # uncentred sees the collapse
    assert effective_rank(COLLAPSED, centre=True) > 0.98 * D  # centred takes the noise for features
    assert effective_rank(OFFSET) < 0.7 * D  # uncentred blames a harmless offset
    assert effective_rank(OFFSET, centre=True) > 0.98 * D


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_alpha_recovers_a_known_exponent(exponent: float) -> None:
    assert alpha(_power_law(exponent)) == pytest.approx(exponent, abs=0.05)


def test_alpha_of_isotropic_is_near_zero_and_ignores_an_offset() -> None:
    assert abs(alpha(_power_law(0.0))) < 0.1  # sampling alone tilts it: 0.17 at N = 32 D
    assert alpha(OFFSET) == pytest.approx(alpha(ISOTROPIC), abs=1e-4)
    assert math.isnan(alpha(RANK_4))


def test_spread_and_its_blind_spots() -> None:
    assert spread(ISOTROPIC) == pytest.approx(1.0, abs=0.02)
    assert spread(COLLAPSED) < 0.01
    assert spread(ANTIPODAL) > 0.75  # two points look healthy
    assert spread(OFFSET) < 0.3  # an offset looks collapsed


def test_uniformity_is_the_formula() -> None:
    z = torch.nn.functional.normalize(_normal(40, 5), dim=1)
    wanted = math.log(float(torch.pdist(z).pow(2).mul(-2).exp().mean()))
    assert uniformity(3 * _normal(40, 5)) == pytest.approx(wanted, abs=1e-5)


def test_uniformity_ranks_constructed_embeddings() -> None:
    assert uniformity(torch.ones(10, 4)) == pytest.approx(0.0, abs=1e-5)
    assert uniformity(ISOTROPIC) == pytest.approx(-4 + 8 / D, abs=0.05)  # exp(4cos - 4), cos of variance 1/D
    assert uniformity(ISOTROPIC) < uniformity(RANK_4) < uniformity(ANTIPODAL) < uniformity(COLLAPSED)
    assert uniformity(ANTIPODAL) == pytest.approx(math.log((1 + math.exp(-8)) / 2), abs=0.01)


def test_alignment() -> None:
    assert alignment(ISOTROPIC, 7 * ISOTROPIC) == pytest.approx(0.0, abs=1e-6)
    assert alignment(ISOTROPIC, -ISOTROPIC) == pytest.approx(4.0, abs=1e-5)
    assert alignment(ISOTROPIC, _normal(N, D, seed=9)) == pytest.approx(2.0, abs=0.05)
    assert alignment(COLLAPSED, COLLAPSED.flip(0)) < 1e-4  # a constant is perfectly aligned


def test_view_retrieval_sees_what_spread_and_rank_do_not() -> None:
    near = ISOTROPIC + 0.1 * _normal(N, D, seed=2)
    assert view_retrieval(ISOTROPIC, near) > 0.999
    assert view_retrieval(ISOTROPIC, _normal(N, D, seed=2)) < 0.01
    assert view_retrieval(COLLAPSED, torch.ones(N, D) + 1e-3 * _normal(N, D, seed=2)) < 0.01
    assert view_retrieval(OFFSET, near + 5) > 0.999
    assert view_retrieval(torch.ones(50, 4), torch.ones(50, 4)) == pytest.approx(1 / 99)


def test_view_retrieval_is_a_plain_search() -> None:
    z1, z2 = _normal(30, 5), _normal(30, 5) + 0.8 * _normal(30, 5, seed=3)
    both = torch.cat([z1, z2])
    both = torch.nn.functional.normalize(both - both.mean(0), dim=1)
    right = 0
    for view in range(60):
        others = [other for other in range(60) if other != view]
        first = max(others, key=lambda other: float(both[view] @ both[other]))
        right += first == (view + 30) % 60
    assert 0 < right < 60
    assert view_retrieval(z1, z2) == pytest.approx(right / 60)


def test_principal_finds_the_large_directions() -> None:
    scale = np.array([1, 9, 1, 4, 1], dtype=np.float32)
    rows = _normal(3000, 5).numpy() * scale + 2
    centre, directions = principal(rows, 2)
    assert np.abs(centre - 2).max() < 0.6
    assert np.abs(directions[1, 0]) > 0.99
    assert np.abs(directions[3, 1]) > 0.99
    assert directions.T @ directions == pytest.approx(np.eye(2), abs=1e-5)
