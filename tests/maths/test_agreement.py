"""NMI and ARI against scikit-learn; their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from selfsight.maths.agreement import agreement


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.7, 1.0])
def test_same_as_scikit_learn_and_inside_the_interval(noise: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(6, size=400)
    clusters = np.where(generator.random(400) < noise, generator.integers(4, size=400), (labels + 2) % 6)
    (nmi, nmi_low, nmi_high), (ari, ari_low, ari_high) = agreement(clusters, labels, seed=0)
    assert nmi == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert ari == pytest.approx(adjusted_rand_score(labels, clusters))
    assert 0 <= nmi_low <= nmi <= nmi_high <= 1
    assert -1 <= ari_low <= ari <= ari_high <= 1


def test_one_cluster_of_one_class_agrees() -> None:
    same = np.zeros(10, dtype=int)
    assert agreement(same, same, seed=0)[:, 0].tolist() == [1.0, 1.0]
    assert agreement(same, np.arange(10) % 2, seed=0)[:, 0].tolist() == [0.0, 0.0]


def test_the_interval_covers_the_truth() -> None:
    """The ARI of a fixed clustering rule on 200 sets of 300 images, beside that on very many images."""
    generator = np.random.default_rng(1)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(4, size=count)
        return np.where(generator.random(count) < 0.4, generator.integers(4, size=count), labels), labels

    truth = adjusted_rand_score(*draw(400_000))
    inside = 0
    for seed in range(200):
        low, high = agreement(*draw(300), seed=seed, resamples=500)[1, 1:]
        inside += low <= truth <= high
    assert 0.90 <= inside / 200 <= 0.99
