"""Logistic regression: the strength is chosen where it matters, and nothing is silent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from selfsight.probe import Labelled, Subject
from selfsight.probes import Logistic, ProbeNote
from selfsight.probes.logistic import KEPT, WIDE, held_out, standardised


def _subject(width: int, count: int = 300, classes: int = 3, seed: int = 0, signal: float = 1.0) -> Subject:
    generator = np.random.default_rng(seed)
    directions = generator.normal(0, signal, (classes, width))

    def draw() -> Labelled:
        labels = generator.permutation(np.arange(count) % classes)
        features = (directions[labels] + generator.normal(0, 1, (count, width))).astype(np.float32)
        return Labelled(features, labels, generator.integers(0, 255, (count, 4, 4, 1), dtype=np.uint8))

    return Subject("trained", draw(), draw(), tuple("abcdef"[:classes]))


def _accuracy(probe: Logistic, subject: Subject) -> float:
    return next(iter(probe.scores(subject, 0))).value


def test_the_choice_of_strength_is_worth_it() -> None:
    """Weak signal in many features: weak regularisation overfits, and the choice must see that in training alone."""
    subject = _subject(width=400, signal=0.08)
    chosen = _accuracy(Logistic(), subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProbeNote)
        fixed = {strength: _accuracy(Logistic(strengths=(strength,)), subject) for strength in Logistic().strengths}
    assert max(fixed.values()) - min(fixed.values()) > 0.05
    assert chosen >= max(fixed.values()) - 0.02


def test_scale_of_features_does_not_matter() -> None:
    subject = _subject(width=6)
    factors = np.array([1e-4, 1, 1e4, 10, 0.1, 1e3], dtype=np.float32)
    parts = [Labelled(part.features * factors, part.labels, part.images) for part in (subject.train, subject.val)]
    assert _accuracy(Logistic(), Subject("trained", *parts, subject.classes)) == _accuracy(Logistic(), subject) > 0.7


def test_many_features_are_reduced_and_still_read() -> None:
    subject = _subject(width=WIDE + 200, count=600, signal=0.3)
    train, val = standardised(subject.train.features, subject.val.features)
    assert train.shape == val.shape == (600, KEPT)
    assert _accuracy(Logistic(), subject) > 0.95


def test_a_feature_that_never_changes_is_ignored() -> None:
    train, val = standardised(np.array([[5.0, 1.0], [5.0, 3.0]]), np.array([[9.0, 2.0]]))
    assert train.tolist() == [[0, -1], [0, 1]]
    assert val.tolist() == [[0, 0]]


def test_what_had_not_converged_is_told() -> None:
    with pytest.warns(ProbeNote, match=r"logistic regression of trained had not converged after 2 steps \(C = 10\)"):
        list(Logistic(strengths=(10.0,), steps=2).scores(_subject(width=20), 0))


def test_one_training_class_predicts_it() -> None:
    subject = _subject(width=4)
    train = Labelled(subject.train.features, np.ones(300, dtype=int), subject.train.images)
    score = next(iter(Logistic().scores(Subject("trained", train, subject.val, subject.classes), 0)))
    assert set(np.asarray(score.predicted).tolist()) == {1}
    assert score.value == pytest.approx(1 / 3)


def test_one_image_per_class_is_told_and_fitted() -> None:
    subject = _subject(width=4, signal=5)
    first = [int(np.flatnonzero(subject.train.labels == code)[0]) for code in range(3)]
    train = Labelled(subject.train.features[first], subject.train.labels[first], subject.train.images[first])
    with pytest.warns(ProbeNote, match="too few training images to choose C"):
        score = next(iter(Logistic().scores(Subject("trained", train, subject.val, subject.classes), 0)))
    assert score.value > 0.9


def test_two_classes() -> None:
    assert _accuracy(Logistic(), _subject(width=5, classes=2, signal=2)) > 0.95


def test_balanced_training_finds_the_rare_class() -> None:
    subject = _subject(width=2, count=600, classes=2, signal=0.8)
    rare = np.flatnonzero((subject.train.labels == 0) | (np.arange(600) % 15 == 0))
    train = Labelled(subject.train.features[rare], subject.train.labels[rare], subject.train.images[rare])
    uneven = Subject("trained", train, subject.val, subject.classes)
    share = {
        balanced: np.mean(np.asarray(next(iter(Logistic(balanced=balanced).scores(uneven, 0))).predicted) == 1)
        for balanced in (False, True)
    }
    assert share[False] < 0.3 < share[True] < 0.7


def test_held_out_is_stratified_disjoint_and_bounded() -> None:
    labels = np.repeat([0, 1, 2, 3], [1000, 100, 2, 1])
    folds = held_out(labels, 500, seed=0)
    assert len(folds) == 5
    for fit, held in folds:
        assert not set(fit) & set(held)
        assert 450 < len(fit) + len(held) < 550
        assert np.bincount(labels[held], minlength=4)[2:].tolist() == [1, 0]
        assert np.bincount(labels[held])[0] == pytest.approx(np.bincount(labels[fit])[0] / 4, abs=2)
    large = [set(held[labels[held] < 2]) for _, held in folds]
    assert len(set.union(*large)) == sum(map(len, large))
    assert len(held_out(np.tile(labels, 3), 500, seed=0)) == 1
