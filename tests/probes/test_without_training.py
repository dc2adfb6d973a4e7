"""Clustering and retrieval: they need validation images only; and the order of content."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.probe import Labelled, Subject
from selfsight.probes import Clustering, ProbeNote, Retrieval
from selfsight.probes.order import content_order


def _subject(features: np.ndarray, labels: np.ndarray) -> Subject:
    nothing = Labelled(features[:0], labels[:0], np.zeros((0, 1, 1, 1), np.uint8))
    val = Labelled(features.astype(np.float32), labels, np.zeros((len(labels), 1, 1, 1), np.uint8))
    return Subject("trained", nothing, val, tuple("abcdef"))


def _blobs(noise: float) -> Subject:
    labels = np.arange(90) % 3
    return _subject(np.eye(3)[labels] + np.random.default_rng(0).normal(0, noise, (90, 3)), labels)


@pytest.mark.parametrize("probe", [Clustering(), Retrieval()])
def test_no_training_image_is_needed_and_noise_costs(probe: Clustering | Retrieval) -> None:
    clear, blurred = ([score.value for score in probe.scores(_blobs(noise), 0)] for noise in (0.05, 0.6))
    assert min(clear) > 0.99
    assert all(less < more - 0.05 for less, more in zip(blurred, clear, strict=True) if more)


def test_fewer_different_images_than_classes() -> None:
    labels = np.arange(30) % 3
    nmi, ari = Clustering().scores(_subject(np.eye(2)[(labels == 0).astype(int)], labels), 0)
    assert 0 < ari.value < nmi.value < 1
    nmi, ari = Clustering().scores(_subject(np.ones((30, 2)), labels), 0)
    assert (nmi.value, ari.value) == (0, 0)


def test_wide_features_are_reduced_for_clustering() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    wide = generator.normal(0, 1, (3, 700))[labels] + generator.normal(0, 1, (300, 700))
    assert min(score.value for score in Clustering().scores(_subject(wide, labels), 0)) > 0.99


def test_queries_that_can_find_nothing_are_left_out_or_told() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    scores = list(Retrieval().scores(_subject(np.eye(5), labels), 0))
    assert {score.n for score in scores} == {4}
    with pytest.warns(ProbeNote, match="no validation class has two images"):
        assert list(Retrieval().scores(_subject(np.eye(3), np.arange(3)), 0)) == []


def test_content_order_follows_the_pictures() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (50, 80, 80, 3), dtype=np.uint8)  # larger than what is looked at
    part = Labelled(np.zeros((50, 1), np.float32), np.arange(50) % 4, images)
    order = generator.permutation(50)
    shuffled = Labelled(part.features, part.labels[order], images[order])
    first, second = content_order(part), content_order(shuffled)
    assert np.array_equal(first, order[second])
    assert np.array_equal(part.labels[first], np.sort(part.labels))
    assert not np.array_equal(first[:13], np.sort(first[:13]))
