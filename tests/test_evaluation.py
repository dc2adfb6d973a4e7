"""An evaluation: the same images for all, honest comparisons, plain JSON; and the baselines on real pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from selfsight.errors import UserError
from selfsight.evaluation import Evaluation, baseline_subjects, evaluate_subjects
from selfsight.images.handmade import colour_features, pixel_features
from selfsight.images.picked import Images, Picked
from selfsight.maths.interval import mean_interval
from selfsight.probe import Labelled, Probe, Score, Subject
from selfsight.probes import KNN, Clustering, FewShot, Logistic, ProbeNote, Retrieval
from selfsight.probes.order import BLOCK

CLASSES = ("ant", "bee", "cat")


def _subject(name: str, noise: float, seed: int = 0, count: int = 240) -> Subject:
    """Always the same images and labels; `noise` says how well the features show the class."""
    generator = np.random.default_rng(0)
    labels = [np.arange(count) % 3, np.arange(count) % 3]
    images = [generator.integers(0, 255, (count, 4, 4, 1), dtype=np.uint8) for _ in range(2)]
    generator = np.random.default_rng(1 + seed)
    features = [np.eye(3)[own] + generator.normal(0, noise, (count, 3)) for own in labels]
    parts = [
        Labelled(rows.astype(np.float32), own, shown) for rows, own, shown in zip(features, labels, images, strict=True)
    ]
    return Subject(name, parts[0], parts[1], CLASSES)


def _trio() -> list[Subject]:
    return [_subject("untrained", 1.5), _subject("trained", 0.4), _subject("twin", 0.4, seed=1)]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate_subjects(_trio(), [KNN(), Logistic(), FewShot(), Clustering(), Retrieval()], seed=3)


def test_every_subject_is_judged_by_every_probe(evaluation: Evaluation) -> None:
    found = {(score.probe, score.metric) for score in evaluation.scores}
    assert len(found) == 1 + 1 + 3 + 2 + 3
    assert len(evaluation.scores) == 3 * len(found)
    assert {score.seed for score in evaluation.scores} == {3}


def test_what_is_better_is_conclusive_and_a_twin_is_not(evaluation: Evaluation) -> None:
    assert {comparison.subject for comparison in evaluation.comparisons} == {"trained"}
    assert len(evaluation.comparisons) == 2 * 10
    for comparison in evaluation.comparisons:
        assert comparison.low <= comparison.difference <= comparison.high
        assert comparison.verdict == ("conclusive" if comparison.baseline == "untrained" else "not yet"), comparison


def test_what_is_conclusively_worse_is_told_too() -> None:
    found = evaluate_subjects([_subject("trained", 1.5), _subject("pixels", 0.4)], [KNN()], seed=0).comparisons
    assert found[0].difference < -0.2
    assert found[0].verdict == "conclusive"


def test_differences_are_paired(evaluation: Evaluation) -> None:
    """Against a baseline whose images are hard where ours are, the paired interval is the bootstrap of differences."""
    by_subject = {score.subject: score for score in evaluation.scores if score.probe == KNN().name}
    mine, other = by_subject["trained"], by_subject["twin"]
    assert mine.each is not None
    assert other.each is not None
    found = next(item for item in evaluation.comparisons if (item.probe, item.baseline) == (mine.probe, "twin"))
    assert (found.low, found.high) == pytest.approx(mean_interval(mine.each - other.each, 3))
    assert found.difference == pytest.approx(mine.value - other.value)


def test_a_few_shot_difference_knows_of_the_draws(evaluation: Evaluation) -> None:
    by_subject = {score.subject: score for score in evaluation.scores if score.probe == "few-shot (1 per class)"}
    mine, other = by_subject["trained"], by_subject["untrained"]
    assert mine.each is not None
    assert other.each is not None
    found = next(item for item in evaluation.comparisons if (item.probe, item.baseline) == (mine.probe, "untrained"))
    low, high = mean_interval(mine.each - other.each, 3)
    assert found.low < low - 0.01
    assert found.high > high + 0.01


def test_without_images_the_intervals_are_set_end_against_end(evaluation: Evaluation) -> None:
    nmi = {score.subject: score for score in evaluation.scores if score.metric == "NMI"}
    found = next(item for item in evaluation.comparisons if (item.metric, item.baseline) == ("NMI", "untrained"))
    assert found.low == nmi["trained"].low - nmi["untrained"].high
    assert found.high == nmi["trained"].high - nmi["untrained"].low


def test_paired_verdicts_are_wrong_one_time_in_twenty() -> None:
    """Two subjects of equal worth, 100 times: no more than 10 "conclusive"."""
    wrong = 0
    for seed in range(100):
        pair = [_subject("trained", 0.7, 2 * seed, 90), _subject("twin", 0.7, 2 * seed + 1, 90)]
        wrong += evaluate_subjects(pair, [KNN()], seed).comparisons[0].verdict == "conclusive"
    assert wrong <= 12  # the training draw of each subject adds doubt that validation images cannot show


def test_per_class_accuracies_add_up(evaluation: Evaluation) -> None:
    assert evaluation.per_class.probe == "logistic regression"
    rows = evaluation.per_class.rows
    assert [row["class"] for row in rows] == list(CLASSES)
    for score in evaluation.scores:
        if score.probe == "logistic regression":
            assert np.mean([row[score.subject] for row in rows]) == pytest.approx(score.value)
    other = evaluate_subjects(_trio(), [KNN(), Logistic()], 0, detail="kNN (k=20)")
    assert other.per_class.probe == "kNN (k=20)"
    with pytest.raises(UserError, match=r"No probe named 'kNN \(k=2\)' .*did you mean 'kNN \(k=20\)'"):
        evaluate_subjects(_trio(), [KNN()], 0, detail="kNN (k=2)")


def test_json_is_plain_and_whole(evaluation: Evaluation) -> None:
    found = evaluation.to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"scores", "comparisons", "per_class", "prior", "seed", "notes"}
    assert set(found["scores"][0]) == {"subject", "probe", "metric", "value", "low", "high", "n", "seed"}
    wanted = {"subject", "baseline", "probe", "metric", "difference", "low", "high", "n", "verdict"}
    assert set(found["comparisons"][0]) == wanted
    assert set(found["per_class"]["rows"][0]) == {"class", "n", "trained", "untrained", "twin"}
    assert set(found["prior"]["rows"][0]) == {"class", "train", "val", "predicted"}
    assert found["prior"]["sentence"] is None


def test_table_has_a_row_per_measure(evaluation: Evaluation) -> None:
    heading, *rows = evaluation.table()
    assert heading == ["probe", "metric", "untrained (%)", "trained (%)", "twin (%)"]
    assert len(rows) == 10
    first = evaluation.scores[0]
    assert rows[0][2] == f"{100 * first.value:.1f} [{100 * first.low:.1f}, {100 * first.high:.1f}]"


def test_subjects_of_different_images_are_refused() -> None:
    first, second = _subject("trained", 0.4), _subject("untrained", 0.4)
    turned = replace(second, val=replace(second.val, labels=second.val.labels[::-1].copy()))
    with pytest.raises(UserError, match="untrained and trained have different labels"):
        evaluate_subjects([first, turned], [KNN()], 0)
    with pytest.raises(UserError, match="each with a name of its own"):
        evaluate_subjects([first, first], [KNN()], 0)


@dataclass(frozen=True)
class _Talkative(Probe):
    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        warnings.warn(ProbeNote(f"{subject.name} is odd."), stacklevel=1)
        warnings.warn(RuntimeWarning("a warning of another kind"), stacklevel=1)
        yield from ()


def test_notes_are_collected_and_other_warnings_go_on() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate_subjects(_trio(), [_Talkative()], 0)
    assert found.notes == ["untrained is odd.", "trained is odd.", "twin is odd."]
    assert {warning.category for warning in caught} == {RuntimeWarning}
    assert found.scores == [] == found.per_class.rows == found.prior.rows


def test_progress_ends_at_all() -> None:
    told: list[tuple[int, int]] = []
    evaluate_subjects(_trio(), [KNN(), Retrieval()], 0, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_baselines_on_photographs(photographs: np.ndarray) -> None:
    """Windows of six photographs: colour tells them apart, as it should."""
    labels = np.arange(240) % 6
    train, val = np.arange(240) < 160, np.arange(240) >= 160
    told: list[tuple[int, int]] = []
    subjects = baseline_subjects(
        photographs[train],
        labels[train],
        photographs[val],
        labels[val],
        [f"photo{code}" for code in range(6)],
        lambda done, total: told.append((done, total)),
    )
    assert [subject.name for subject in subjects] == ["pixels", "hand-made"]
    assert told[-1] == (240, 240)
    found = evaluate_subjects(subjects, [KNN()], 0)
    value = {score.subject: score.value for score in found.scores}
    assert value["hand-made"] > 0.9
    assert value["pixels"] > 1 / 6 + 0.2


def test_images_that_are_read_where_they_lie_give_what_a_copy_gives(photographs: np.ndarray) -> None:
    rows = np.random.default_rng(0).permutation(240)
    parts, labels = (rows[:160], rows[160:]), np.arange(240) % 6

    def evaluated(train: Images, val: Images) -> Evaluation:
        made = baseline_subjects(train, labels[parts[0]], val, labels[parts[1]], tuple("abcdef"))
        return evaluate_subjects(made, [KNN(), Logistic()], 0)

    copied = evaluated(*(photographs[part] for part in parts))
    assert evaluated(*(Picked(photographs, part) for part in parts)).to_json() == copied.to_json()


def test_few_images_are_in_memory_at_once() -> None:
    class Watched(Picked):
        most = 0

        def __getitem__(self, which: Any) -> Any:
            taken = super().__getitem__(which)
            self.most = max(self.most, len(taken))
            return taken

    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (9000, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(9000) % 3
    features = (np.eye(3)[labels] + generator.normal(0, 1, (9000, 3))).astype(np.float32)
    known, asked = (Watched(pixels, part) for part in (np.arange(8000), np.arange(8000, 9000)))
    subject = Subject(
        "made",
        Labelled(features[:8000], labels[:8000], known),
        Labelled(features[8000:], labels[8000:], asked),
        CLASSES,
    )
    evaluate_subjects([subject], [KNN(), Logistic()], seed=0)
    assert known.most == BLOCK
    pixel_features(asked)
    colour_features(asked)
    assert asked.most == 512
