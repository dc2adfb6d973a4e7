"""Few-shot: the interval covers the draws too; what cannot be drawn is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfsight.probe import Labelled, Subject
from selfsight.probes import FewShot, ProbeNote

DIRECTIONS = np.random.default_rng(42).normal(0, 1, (3, 4))


def _draw(count: int, generator: np.random.Generator) -> Labelled:
    labels = np.arange(count) % 3
    features = (DIRECTIONS[labels] + generator.normal(0, 1.5, (count, 4))).astype(np.float32)
    return Labelled(features, labels, generator.integers(0, 255, (count, 2, 2, 1), dtype=np.uint8))


def _subject(train: Labelled, val: Labelled) -> Subject:
    return Subject("trained", train, val, ("a", "b", "c"))


def test_the_interval_covers_the_truth() -> None:
    """100 validation sets and sets of draws; the truth is over 300 draws and 3,000 images."""
    generator = np.random.default_rng(0)
    train = _draw(300, generator)
    truth = next(iter(FewShot(shots=(1,), draws=300).scores(_subject(train, _draw(3000, generator)), 10**6))).value
    inside = 0
    for seed in range(100):
        score = next(iter(FewShot(shots=(1,), draws=20).scores(_subject(train, _draw(200, generator)), seed)))
        inside += score.low <= truth <= score.high
    assert 0.90 <= inside / 100 <= 1.0  # two factors are resampled independently, which errs on the wide side


def test_more_labels_help_and_each_count_is_a_score() -> None:
    generator = np.random.default_rng(0)
    scores = list(FewShot().scores(_subject(_draw(300, generator), _draw(300, generator)), 0))
    assert [score.probe for score in scores] == [f"few-shot ({shots} per class)" for shots in (1, 5, 10)]
    assert scores[0].value + 0.05 < scores[1].value < scores[2].value + 0.05


def test_a_small_class_gives_all_it_has_and_impossible_counts_are_left_out() -> None:
    generator = np.random.default_rng(0)
    train = _draw(30, generator)
    kept = np.flatnonzero((train.labels != 2) | (np.arange(30) < 6))  # ten, ten and two
    train = Labelled(train.features[kept], train.labels[kept], train.images[kept])
    with pytest.warns(ProbeNote, match="no class has 11 training images"):
        scores = list(FewShot(shots=(5, 11)).scores(_subject(train, _draw(90, generator)), 0))
    assert len(scores) == 1
    assert np.asarray(scores[0].each)[2::3].mean() > 0  # the small class is still found


def test_every_subject_gets_the_same_draws() -> None:
    """A second subject whose features are the first's, turned: if its draws were others, its numbers would be too."""
    generator = np.random.default_rng(0)
    first = _subject(_draw(90, generator), _draw(90, generator))
    turn = np.linalg.qr(generator.normal(size=(4, 4)))[0].astype(np.float32)
    order = generator.permutation(90)
    train = Labelled(first.train.features[order] @ turn, first.train.labels[order], first.train.images[order])
    second = replace(first, train=train, val=replace(first.val, features=first.val.features @ turn))
    for one, other in zip(FewShot().scores(first, 0), FewShot().scores(second, 0), strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9)
