"""Composed scenes: made again exactly, uniquely coloured, every object to be seen; shapes as dSprites describes them."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.images.scenes import APART, ELLIPSE, SQUARE, VISIBLE, scene, shape


@pytest.mark.parametrize("side", [32, 35, 64])
def test_a_scene_is_a_function_of_seed_and_index(side):
    one, again, other, second = scene(3, 1, side=side), scene(3, 1, side=side), scene(4, 1), scene(3, 2)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.owner, again.owner)
    assert one.image.shape == (side, side, 3)
    assert one.image.dtype == one.owner.dtype == np.uint8
    assert not np.array_equal(scene(3, 1).image, other.image)
    assert not np.array_equal(scene(3, 1).image, second.image)


def test_every_object_has_a_colour_of_its_own_and_can_be_seen():
    counts = []
    for index in range(60):
        made = scene(index)
        colours = [np.unique(made.image[made.owner == k], axis=0) for k in range(made.objects + 1)]
        assert all(len(found) == 1 for found in colours)
        values = np.concatenate(colours) / 255
        far = np.linalg.norm(values[:, None] - values[None], axis=2)[~np.eye(len(values), dtype=bool)]
        assert far.min() > APART - 0.01
        counts.append(made.objects)
        assert (np.bincount(made.owner.ravel()) > 5).all()
    assert set(counts) == {2, 3, 4}


def test_objects_cover_one_another_but_never_altogether():
    """Laid alone, the smallest shape has 52 pixels at a side of 64."""
    least = min(np.bincount(scene(i).owner.ravel()).min() for i in range(200))
    assert 52 * VISIBLE - 3 <= least < 52


def test_the_number_of_objects_and_shading():
    assert {scene(i, objects=(1, 1)).objects for i in range(5)} == {1}
    flat, shaded = scene(0), scene(0, shading=0.8)
    assert np.array_equal(flat.owner, shaded.owner)
    assert all(len(np.unique(shaded.image[shaded.owner == k], axis=0)) > 3 for k in range(shaded.objects + 1))


def test_shapes_have_the_areas_of_their_description():
    n = 256
    square, ellipse, heart = (shape(kind, 0.7, 0.4, 0.5, 0.5, n).sum() / n**2 for kind in range(3))
    assert square == pytest.approx((2 * SQUARE * 0.7) ** 2, rel=0.01)
    assert ellipse == pytest.approx(np.pi * ELLIPSE[0] * ELLIPSE[1] * 0.49, rel=0.01)
    assert heart == pytest.approx(180 * np.pi * (0.0098 * 0.7) ** 2, rel=0.02)
    upright = shape(2, 1.0, 0.0, 0.5, 0.5, n)
    rows = upright.sum(1)[upright.any(1)]
    assert rows[len(rows) // 4] > rows[-len(rows) // 4]  # it stands on its point


def test_a_turn_moves_nothing_but_the_direction():
    upright, lying = shape(1, 1.0, 0.0, 0.5, 0.5, 64), shape(1, 1.0, np.pi / 2, 0.5, 0.5, 64)
    assert np.array_equal(upright.T, lying)
    assert upright.any(0).sum() > upright.any(1).sum()
    moved = shape(1, 1.0, 0.0, 1.0, 0.0, 64)
    assert np.nonzero(moved)[1].mean() == pytest.approx(47.5)
    assert np.nonzero(moved)[0].mean() == pytest.approx(15.5)
