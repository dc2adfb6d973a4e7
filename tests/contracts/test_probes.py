"""What every probe promises, on subjects whose worth is known by construction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torch import nn

from selfsight.errors import UserError
from selfsight.probe import Labelled, Probe, Score, Subject
from selfsight.probes import KNN, Clustering, FewShot, FineTune, Logistic, Retrieval

CLASSES = ("ant", "bee", "cat", "dog")
PROBES: list[Probe] = [
    KNN(),
    KNN(k=5, restrict_to_val=True),
    Logistic(),
    Logistic(balanced=True, restrict_to_val=True),
    FewShot(draws=10),
    FineTune(epochs=6, least=0, batch=16, encoder_rate=3e-3, crop=0.9),
    FineTune(epochs=6, least=0, batch=16, encoder_rate=3e-3, crop=1.0, flip=False, restrict_to_val=True),
    Clustering(),
    Retrieval(),
]
each_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: repr(probe)[:60])


class Encoder(nn.Module):
    """Two layers with fixed weights and dropout, so that a leak of global randomness would be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.5))
        with torch.no_grad():
            for place, parameter in enumerate(self.net.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)) / 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


def part(labels: np.ndarray, shown: np.ndarray, seed: int) -> Labelled:
    """Images and features that show the class `shown` clearly; read-only, as memory maps are."""
    generator = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).integers(0, 200, (len(CLASSES), 8, 8, 1))
    patterns = patterns + patterns[:, :, ::-1]  # a mirror image stays in its class
    images = (patterns[shown] // 2 + generator.integers(0, 30, (len(shown), 8, 8, 1))).astype(np.uint8)
    features = (np.eye(len(CLASSES))[shown] * 8 + generator.normal(0, 0.5, (len(shown), 4)) + 3).astype(np.float32)
    for array in (labels, images, features):
        array.flags.writeable = False
    return Labelled(features, labels, images)


def subject(
    seed: int = 0, informative: bool = True, val_classes: Iterable[int] = range(4), images: int = 96
) -> Subject:
    generator = np.random.default_rng(seed)
    train = np.arange(120) % 4
    val = np.resize(list(val_classes), images)
    shown = (train, val) if informative else (generator.integers(4, size=120), generator.integers(4, size=images))
    return Subject("trained", part(train, shown[0], seed + 1), part(val, shown[1], seed + 2), CLASSES, Encoder)


def numbers(scores: Iterable[Score]) -> list[tuple[object, ...]]:
    return [(score.probe, score.metric, score.value, score.low, score.high, score.n) for score in scores]


@each_probe
def test_same_seed_same_numbers_whatever_the_global_state(probe: Probe) -> None:
    torch.manual_seed(122)
    np.random.seed(122)
    first = list(probe.scores(subject(informative=False), 7))
    torch.manual_seed(123)
    np.random.seed(123)
    before = torch.get_rng_state()
    second = list(probe.scores(subject(informative=False), 7))
    assert torch.equal(before, torch.get_rng_state())
    assert first
    assert numbers(first) == numbers(second)
    for one, other in zip(first, second, strict=True):
        assert one.seed == 7
        for mine, theirs in ((one.each, other.each), (one.predicted, other.predicted)):
            assert (mine is None) == (theirs is None)
            assert mine is None or np.array_equal(mine, theirs)


@each_probe
def test_order_of_training_images_does_not_matter(probe: Probe) -> None:
    given = subject(informative=False)
    order = np.random.default_rng(5).permutation(120)
    train = Labelled(given.train.features[order], given.train.labels[order], given.train.images[order])
    for one, other in zip(probe.scores(given, 0), probe.scores(replace(given, train=train), 0), strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-6)


@each_probe
def test_perfect_features_are_found_perfect(probe: Probe) -> None:
    for score in probe.scores(subject(), 0):
        assert score.value > 0.98, score
        assert score.high > 0.99


@each_probe
def test_labels_without_meaning_give_chance(probe: Probe) -> None:
    """Chance lies in the 95 % interval of at least six of eight sets (a fair interval fails that once in 170)."""
    inside: dict[tuple[str, str], list[bool]] = {}
    for seed in range(8):
        given = subject(seed=10 * seed, informative=False)
        for score in probe.scores(given, seed):
            chance = chance_of(score.metric, given.val.labels)
            inside.setdefault((score.probe, score.metric), []).append(score.low <= chance <= score.high)
    assert inside
    for key, found in inside.items():
        assert sum(found) >= 6, (key, found)


@each_probe
def test_intervals_hold_the_value_and_each_its_mean(probe: Probe) -> None:
    for informative in (True, False):
        given = subject(informative=informative, val_classes=[0, 0, 0, 1, 2, 3])
        for score in probe.scores(given, 0):
            assert score.low <= score.value <= score.high
            assert score.subject == "trained"
            if score.metric in ("NMI", "ARI"):
                assert score.each is None
                assert score.low < score.high or score.value == 1
            else:
                assert score.low < score.high
                assert score.each is not None
                assert len(score.each) == score.n
                assert score.each.mean() == pytest.approx(score.value)


@each_probe
def test_validation_may_hold_some_classes_only(probe: Probe) -> None:
    scores = list(probe.scores(subject(val_classes=[1, 3]), 0))
    assert scores
    for score in scores:
        assert score.value > 0.98
        assert score.predicted is None or set(score.predicted.tolist()) <= {1, 3}


@each_probe
def test_validation_labels_never_reach_the_fit(probe: Probe) -> None:
    """Whatever the labels say, each image gets one and the same prediction: it is right for exactly one class."""
    if getattr(probe, "restrict_to_val", False):
        probe = replace(probe, restrict_to_val=False)  # type: ignore[type-var]
    given = subject(informative=False)
    right: dict[str, np.ndarray] = {}
    predictions: list[np.ndarray] = []
    for code in range(4):
        labels = np.full(len(given.val.labels), code)
        for score in probe.scores(replace(given, val=replace(given.val, labels=labels)), 0):
            if score.metric == "accuracy":
                assert score.each is not None
                right[score.probe] = right.get(score.probe, 0) + score.each
                predictions += [] if score.predicted is None else [score.predicted]
    assert all(np.allclose(total, 1) for total in right.values())
    assert all(np.array_equal(predictions[0], other) for other in predictions)


@each_probe
def test_restriction_depends_on_which_classes_not_on_whose_label(probe: Probe) -> None:
    given = subject(informative=False, val_classes=[0, 1, 2])
    shuffled = np.random.default_rng(0).permutation(given.val.labels)
    pairs = zip(
        probe.scores(given, 0), probe.scores(replace(given, val=replace(given.val, labels=shuffled)), 0), strict=True
    )
    for one, other in pairs:
        if one.predicted is not None:
            assert other.predicted is not None
            assert np.array_equal(one.predicted, other.predicted)
            assert not getattr(probe, "restrict_to_val", False) or 3 not in one.predicted


@each_probe
def test_broken_features_are_told(probe: Probe) -> None:
    given = subject()
    features = given.val.features.copy()
    features[3, 1] = np.nan
    with pytest.raises(UserError, match=r"features of 1 of 96 validation images"):
        list(probe.scores(replace(given, val=replace(given.val, features=features)), 0))


@each_probe
def test_empty_validation_is_told(probe: Probe) -> None:
    given = subject()
    empty = Labelled(given.val.features[:0], given.val.labels[:0], given.val.images[:0])
    with pytest.raises(UserError, match="no labelled validation images"):
        list(probe.scores(replace(given, val=empty), 0))


def chance_of(metric: str, labels: np.ndarray) -> float:
    """What a representation that knows nothing gets, for four classes of equal size."""
    generator = np.random.default_rng(0)
    count, relevant = len(labels), len(labels) // 4 - 1
    if metric == "accuracy":
        return 0.25
    if metric == "ARI":
        return 0.0
    if metric == "NMI":
        return float(np.mean([normalized_mutual_info_score(generator.permutation(labels), labels) for _ in range(200)]))
    places = np.argsort(generator.random((4000, count - 1)), axis=1)[:, :relevant]
    places.sort(axis=1)
    if metric == "mAP":
        return float((np.arange(1, relevant + 1) / (places + 1)).mean())
    return float((places[:, 0] < int(metric.removeprefix("recall@"))).mean())
