"""kNN: its interval on many simulated sets, and why features are centred."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from selfsight.errors import UserError
from selfsight.probe import Labelled, Subject
from selfsight.probes import KNN

DIRECTIONS = np.random.default_rng(42).normal(0, 1, (3, 6))


def _draw(count: int, generator: np.random.Generator) -> Labelled:
    labels = generator.integers(3, size=count)
    features = (DIRECTIONS[labels] + generator.normal(0, 1.2, (count, 6))).astype(np.float32)
    return Labelled(features, labels, np.zeros((count, 1, 1, 1), np.uint8))


def _subject(train: Labelled, val: Labelled) -> Subject:
    return Subject("trained", train, val, ("a", "b", "c"))


def test_the_interval_covers_the_truth() -> None:
    """200 validation sets for one training set; the truth is the accuracy on 40,000 images."""
    generator = np.random.default_rng(0)
    train = _draw(300, generator)
    truth = next(iter(KNN().scores(_subject(train, _draw(40_000, generator)), 0))).value
    assert 0.6 < truth < 0.95
    inside = 0
    for seed in range(200):
        score = next(iter(KNN().scores(_subject(train, _draw(150, generator)), seed)))
        inside += score.low <= truth <= score.high
    assert 0.90 <= inside / 200 <= 0.99


def test_same_as_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    train, val = _draw(200, generator), _draw(80, generator)
    centred = [part.features - train.features.mean(0) for part in (train, val)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in centred]
    model = KNeighborsClassifier(20, weights=lambda distance: np.exp(-(distance**2) / 2 / 0.07), algorithm="brute")
    wanted = model.fit(unit[0], train.labels).predict(unit[1])
    score = next(iter(KNN().scores(_subject(train, val), 0)))
    assert score.predicted is not None
    assert np.array_equal(score.predicted, wanted)


def test_an_offset_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    train, val = _draw(200, generator), _draw(80, generator)
    moved = [Labelled(part.features + 100, part.labels, part.images) for part in (train, val)]
    plain, offset = (list(KNN().scores(_subject(*parts), 0)) for parts in ((train, val), moved))
    assert plain[0].value == pytest.approx(offset[0].value, abs=0.03)
    assert plain[0].value > 0.6


def test_uneven_classes_get_a_balanced_accuracy() -> None:
    generator = np.random.default_rng(1)
    train, val = _draw(200, generator), _draw(300, generator)
    few = np.flatnonzero((val.labels != 2) | (np.arange(300) % 10 == 0))
    val = Labelled(val.features[few], val.labels[few], val.images[few])
    plain, balanced = KNN().scores(_subject(train, val), 0)
    hits = np.asarray(plain.predicted) == val.labels
    assert balanced.metric == "balanced accuracy"
    assert balanced.value == pytest.approx(np.mean([hits[val.labels == code].mean() for code in range(3)]))


def test_nothing_in_common_to_restrict_to() -> None:
    generator = np.random.default_rng(1)
    train, val = _draw(50, generator), _draw(20, generator)
    others = train.labels > 0
    train = Labelled(train.features[others], train.labels[others], train.images[others])
    val = Labelled(val.features, np.zeros(20, int), val.images)
    assert next(iter(KNN().scores(_subject(train, val), 0))).value == 0
    with pytest.raises(UserError, match="no class of the validation images has a labelled training image"):
        list(KNN(restrict_to_val=True).scores(_subject(train, val), 0))


def test_labels_that_do_not_fit_are_told() -> None:
    generator = np.random.default_rng(1)
    train, val = _draw(50, generator), _draw(20, generator)
    with pytest.raises(UserError, match=r"labels run from -1 to 2, but there are 3 classes"):
        list(KNN().scores(_subject(Labelled(train.features, np.r_[-1, train.labels[1:]], train.images), val), 0))
    with pytest.raises(UserError, match=r"do not fit 50 labels"):
        list(KNN().scores(_subject(Labelled(train.features[:40], train.labels, train.images), val), 0))
    with pytest.raises(UserError, match=r"training features have 5 numbers and validation features 6"):
        list(KNN().scores(_subject(Labelled(train.features[:, :5], train.labels, train.images), val), 0))
