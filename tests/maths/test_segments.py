"""Foreground ARI beside scikit-learn's adjusted Rand index, image by image; and every way in which masks say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from selfsight.maths.segments import collapses, foreground_ari


def slowly(told, owner):
    there = owner > 0
    return adjusted_rand_score(owner[there], told[there])


@pytest.mark.parametrize("masks", [1, 2, 6])
def test_it_is_scikit_learns_index_of_the_objects_pixels(masks):
    rng = np.random.default_rng(masks)
    owner = rng.integers(0, 4, (20, 9, 7))
    owner[0] = 0
    owner[1] = np.minimum(owner[1], 1)
    told = np.where(rng.random(owner.shape) < 0.5, owner % masks, rng.integers(0, masks, owner.shape))
    found = foreground_ari(told, owner)
    assert found[0] == 1.0
    assert found[1:] == pytest.approx([slowly(told[i], owner[i]) for i in range(1, 20)])


def test_names_do_not_matter_nor_does_the_background():
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 4, (5, 8, 8))
    told = np.where(owner == 0, rng.integers(0, 9, owner.shape), (owner * 5) % 7)
    assert foreground_ari(told, owner) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="one shape"):
        foreground_ari(told[:, :4], owner)


def test_each_collapse_is_called_by_its_name():
    left = np.zeros((8, 8))
    left[:, :4] = 1
    kinds = [np.ones((8, 8)), np.zeros((8, 8)), np.full((8, 8), 0.4), left, 0.9 * left, left.T]
    found = collapses(np.stack(kinds)[None])
    assert found.full[0].tolist() == [True, False, False, False, False, False]
    assert found.empty[0].tolist() == [False, True, False, False, False, False]
    assert found.constant[0].tolist() == [False, False, True, False, False, False]
    assert found.repeated[0].tolist() == [False, False, False, False, True, False]
    assert found.shares() == {"full": 1 / 6, "empty": 1 / 6, "constant": 1 / 6, "repeated": 1 / 6}


def test_an_image_is_not_taken_apart_where_one_mask_has_it_all():
    left, none, whole = np.zeros((8, 8)), np.zeros((8, 8)), np.ones((8, 8))
    left[:, :4] = 1
    third = np.full((8, 8), 1 / 3)
    apart, one, alike = [left, 1 - left, none], [whole, none, none], [third, third, third]
    assert collapses(np.stack([apart, one, alike])).images().tolist() == [False, True, True]
