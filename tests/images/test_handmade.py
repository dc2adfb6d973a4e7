"""Hand-made features: what each part sees and what it must not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from selfsight.images.handmade import colour_features, gradient_features, handmade_features, pixel_features, shrink


def test_pixels_are_the_image_where_it_is_small() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 20, 3), dtype=np.uint8)
    assert pixel_features(images) == pytest.approx(images.reshape(3, -1) / 255)


def test_shrinking_is_antialiased_and_keeps_the_shape(photographs: np.ndarray) -> None:
    assert shrink(photographs[:2], 8).shape == (2, 8, 8, 3)
    assert shrink(np.zeros((1, 64, 128, 1), np.uint8), 32).shape == (1, 16, 32, 1)
    wanted = np.asarray(Image.fromarray(photographs[0]).resize((8, 8), Image.Resampling.BILINEAR)) / 255
    assert np.abs(shrink(photographs[:1], 8)[0] - wanted).max() < 1.5 / 255
    stripes = np.tile(np.array([0, 255], np.uint8), 64)[None, None, :, None].repeat(128, 1)
    assert shrink(stripes, 32)[0, 8:-8, 8:-8].std() < 0.02  # without antialiasing: aliases


def test_gradients_see_shape_and_ignore_brightness(photographs: np.ndarray) -> None:
    images = photographs[:12]
    plain, darker = gradient_features(images), gradient_features(images // 2)
    assert np.linalg.norm(plain, axis=1) == pytest.approx(np.ones(12), abs=1e-5)
    cosine = plain @ darker.T
    assert (cosine.argmax(1) == np.arange(12)).all()
    assert np.diag(cosine).min() > 0.9


def test_colours_ignore_where_pixels_lie(photographs: np.ndarray) -> None:
    images = photographs[:6]
    same = np.random.default_rng(0).permutation(32 * 32)
    moved = images.reshape(6, -1, 3)[:, same].reshape(images.shape)
    assert np.allclose(colour_features(images), colour_features(moved))
    one = colour_features(np.full((1, 4, 4, 3), (0, 64, 255), np.uint8))
    assert one[0].argmax() == 0 * 16 + 1 * 4 + 3
    assert colour_features(np.full((1, 4, 4, 1), 255, np.uint8))[0].argmax() == 63


@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 9, 3), (28, 28, 1), (64, 64, 3), (100, 30, 1)])
def test_any_size_gives_finite_features(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    images[1] = 7  # without any gradient
    images.flags.writeable = False
    found = handmade_features(images)
    assert found.dtype == np.float32
    assert found.shape[1] > 64
    assert np.isfinite(found).all()


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    gradient_features(np.zeros((600, 8, 8, 1), np.uint8), lambda done, total: told.append((done, total)))
    assert told == [(512, 600), (600, 600)]
