"""The class-prior trap: built, found and undone; and silence where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfsight.evaluation import evaluate_subjects
from selfsight.prior import weigh_prior
from selfsight.probe import Labelled, Probe, Subject
from selfsight.probes import KNN, Logistic

CLASSES = tuple("abcdefghi")


def _subject(train_sizes: list[int], val_sizes: list[int], seed: int = 0, signal: float = 0.9) -> Subject:
    directions = np.random.default_rng(7).normal(0, signal, (9, 5))
    generator = np.random.default_rng(seed)

    def draw(sizes: list[int]) -> Labelled:
        labels = generator.permutation(np.repeat(np.arange(9), sizes))
        features = (directions[labels] + generator.normal(0, 1, (len(labels), 5))).astype(np.float32)
        return Labelled(features, labels, generator.integers(0, 255, (len(labels), 2, 2, 1), dtype=np.uint8))

    return Subject("trained", draw(train_sizes), draw(val_sizes), CLASSES)


TRAP = ([120] * 6 + [12] * 3, [0] * 6 + [80] * 3)
"""Six rich classes that validation does not hold, three poor ones that are all it holds."""


@pytest.mark.parametrize("probe", [Logistic(), KNN()])
def test_the_trap_is_found_and_its_numbers_are_right(probe: Probe) -> None:
    subject = _subject(*TRAP)
    score = next(iter(probe.scores(subject, 0)))
    assert score.value < 1 / 3  # below what chance among validation's classes gives: features seem worthless
    prior = evaluate_subjects([subject], [probe], 0).prior
    outside = float(np.mean(np.asarray(score.predicted) < 6))
    limited = next(iter(replace(probe, restrict_to_val=True).scores(subject, 0))).value  # type: ignore[type-var]
    assert limited > 0.5
    assert prior.sentence is not None
    assert f"{score.probe} gives trained {100 * score.value:.1f} %" in prior.sentence
    assert (
        f"{100 * outside:.1f} % of its predictions fell into the 6 classes that validation does not" in prior.sentence
    )
    assert f"{100 * limited:.1f} % with predictions limited to validation's classes" in prior.sentence
    assert f"{100 * 720 / 756:.1f} % of the training images" in prior.sentence
    if isinstance(probe, Logistic):
        balanced = next(iter(replace(probe, balanced=True).scores(subject, 0))).value
        both = next(iter(replace(probe, balanced=True, restrict_to_val=True).scores(subject, 0))).value
        assert f"{100 * balanced:.1f} % with balanced training and {100 * both:.1f} % with both." in prior.sentence


def test_the_histogram_is_counted() -> None:
    subject = _subject(*TRAP)
    score = next(iter(Logistic().scores(subject, 0)))
    rows = weigh_prior(subject, Logistic(), score, 0).rows
    assert [row["class"] for row in rows] == list(CLASSES)
    assert [row["train"] for row in rows] == TRAP[0]
    assert [row["val"] for row in rows] == TRAP[1]
    assert [row["predicted"] for row in rows] == np.bincount(np.asarray(score.predicted), minlength=9).tolist()


def test_imbalance_alone_is_found_too() -> None:
    """Validation holds every class alike, training mostly three of them."""
    prior = evaluate_subjects([_subject([300] * 3 + [10] * 6, [30] * 9)], [Logistic()], 0).prior
    assert prior.sentence is not None
    assert "fell into the 3 classes that 93.8 % of the training images and only 33.3 %" in prior.sentence
    assert "with balanced training" in prior.sentence


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("signal", [0.0, 0.4, 0.9])
def test_silent_where_the_priors_agree(seed: int, signal: float) -> None:
    """Weak features are weak: a plain split of uneven classes must not excuse them."""
    sizes = [200, 100, 100, 50, 50, 50, 20, 20, 10]
    subject = _subject(sizes, [size // 2 for size in sizes], seed, signal)
    assert evaluate_subjects([subject], [KNN(), Logistic(strengths=(0.1,))], 0).prior.sentence is None


def test_silent_where_the_prior_is_already_tied_or_the_features_beat_it() -> None:
    tied = Logistic(restrict_to_val=True)
    assert evaluate_subjects([_subject(*TRAP)], [tied], 0).prior.sentence is None
    assert evaluate_subjects([_subject(*TRAP, signal=6.0)], [Logistic()], 0).prior.sentence is None


def test_silent_where_untying_does_not_help() -> None:
    """Features without any signal crowd into the rich classes, yet among two of equal size nothing better comes out."""
    subject = _subject([200, 200, 100, 100, 0, 0, 0, 0, 0], [20, 20, 60, 60, 0, 0, 0, 0, 0], signal=0.0)
    score = next(iter(KNN().scores(subject, 0)))
    assert weigh_prior(subject, KNN(), score, 0).sentence is None
