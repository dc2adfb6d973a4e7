"""Do 95 % intervals hold the truth 95 % of the time? On hundreds of simulated sets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.maths.interval import balanced_interval, crossed_interval, mean_interval, share_interval

SETS = 200


def _coverage(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize("truth", [0.2, 0.6, 0.9])
def test_share_covers(truth: float) -> None:
    generator = np.random.default_rng(0)
    sets = [(generator.random(200) < truth).astype(float) for _ in range(SETS)]
    assert 0.90 <= _coverage([share_interval(hits, seed) for seed, hits in enumerate(sets)], truth) <= 0.99


def test_mean_of_uneven_values_covers() -> None:
    generator = np.random.default_rng(0)
    sets = [generator.beta(0.5, 1.5, 150) for _ in range(SETS)]  # like average precisions
    assert 0.90 <= _coverage([mean_interval(each, seed) for seed, each in enumerate(sets)], 0.25) <= 0.99


def test_paired_difference_covers_and_is_narrower_than_unpaired() -> None:
    generator = np.random.default_rng(0)
    intervals, widths = [], []
    for seed in range(SETS):
        hard = generator.random(200)
        mine, other = (hard < 0.7).astype(float), (hard + generator.normal(0, 0.1, 200) < 0.6).astype(float)
        intervals.append(mean_interval(mine - other, seed))
        apart = share_interval(mine, seed)[1] - share_interval(other, seed)[0]
        widths.append((intervals[-1][1] - intervals[-1][0]) / (2 * apart))
    hard = generator.random(1_000_000)
    truth = float((hard < 0.7).mean() - (hard + generator.normal(0, 0.1, len(hard)) < 0.6).mean())
    assert 0.90 <= _coverage(intervals, truth) <= 0.99
    assert np.mean(widths) < 0.5


def test_balanced_covers() -> None:
    generator = np.random.default_rng(0)
    right = np.array([0.9, 0.5, 0.2])
    intervals = []
    for seed in range(SETS):
        labels = generator.choice(3, 300, p=[0.7, 0.2, 0.1])
        hits = (generator.random(300) < right[labels]).astype(float)
        intervals.append(balanced_interval(hits, labels, seed))
    assert 0.90 <= _coverage(intervals, right.mean()) <= 0.99


def test_crossed_covers_draws_and_images_where_images_alone_do_not() -> None:
    """Each draw shifts all images' chances: 20 draws leave a doubt that no number of images removes."""
    generator = np.random.default_rng(0)
    crossed, images_alone = [], []
    for seed in range(SETS):
        draw, image = generator.normal(0, 0.1, (20, 1)), generator.normal(0, 0.2, (1, 300))
        hits = (generator.random((20, 300)) < np.clip(0.5 + draw + image, 0, 1)).astype(float)
        crossed.append(crossed_interval(hits, seed, resamples=500))
        images_alone.append(mean_interval(hits.mean(0), seed))
    assert 0.90 <= _coverage(crossed, 0.5) <= 0.99
    assert _coverage(images_alone, 0.5) < 0.90


def test_certainty_is_never_claimed() -> None:
    assert share_interval(np.ones(100), 0) == (pytest.approx(0.9638, abs=1e-4), 1.0)
    assert share_interval(np.zeros(100), 0) == (0.0, pytest.approx(0.0362, abs=1e-4))
    low, high = balanced_interval(np.ones(50), np.arange(50) % 3, 0)
    assert low < 1 == high
    assert crossed_interval(np.ones((5, 100)), 0) == share_interval(np.ones(100), 0)


def test_seeded_and_blind_to_order() -> None:
    each = np.random.default_rng(0).random(1000)
    assert mean_interval(each, 3) == mean_interval(each[::-1], 3)
    assert mean_interval(each, 3) != mean_interval(each, 4)
    hits = (each < 0.3).astype(float)
    assert mean_interval(hits, 3) == mean_interval(hits[::-1], 3)


def test_few_values_and_many_give_the_same_interval() -> None:
    """The multinomial way and the way of indices are two roads to one distribution."""
    hits = (np.random.default_rng(0).random(400) < 0.3).astype(float)
    jittered = hits + np.random.default_rng(1).normal(0, 1e-9, 400)
    assert mean_interval(hits, 0) == pytest.approx(mean_interval(jittered, 0), abs=0.005)
