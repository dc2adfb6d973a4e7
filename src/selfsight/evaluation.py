"""Several subjects judged by several probes on the same images, and compared image by image.

A comparison is a paired bootstrap of the difference: what is hard for every subject cancels. It is "conclusive" where
the 95 % interval of the difference leaves out 0, else "not yet". One interval in twenty leaves it out by chance.

Shapes: N training images, M validation images, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selfsight.errors import UserError, nearest
from selfsight.images.handmade import handmade_features, pixel_features
from selfsight.images.picked import Images
from selfsight.maths.interval import mean_interval
from selfsight.prior import Prior, weigh_prior
from selfsight.probe import Labelled, Probe, Score, Subject
from selfsight.probes.note import judge
from selfsight.probes.sound import require_sound

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


@dataclass(frozen=True)
class Comparison:
    """One subject beside one baseline, by one probe and metric."""

    subject: str
    baseline: str
    probe: str
    metric: str
    difference: float
    """Subject minus baseline."""
    low: float
    """Lower end of the difference's 95 % interval."""
    high: float
    n: int
    verdict: str
    """"conclusive" where the interval leaves out 0, else "not yet"."""


@dataclass(frozen=True)
class PerClass:
    """Accuracy class by class, by one probe."""

    probe: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    """{"class", "n", and for each subject its name: accuracy}, classes that validation holds."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found. `scores` keep their per-image values; `to_json` leaves them out."""

    scores: list[Score]
    comparisons: list[Comparison]
    per_class: PerClass
    prior: Prior
    seed: int
    notes: list[str] = field(default_factory=list)
    """What probes had to say beside their numbers, e.g. that a fit had not converged."""

    def to_json(self) -> dict[str, Any]:
        """Plain types, without the arrays."""
        shown = ("subject", "probe", "metric", "value", "low", "high", "n", "seed")
        return {
            "scores": [{name: getattr(score, name) for name in shown} for score in self.scores],
            "comparisons": [dict(vars(comparison)) for comparison in self.comparisons],
            "per_class": {"probe": self.per_class.probe, "rows": self.per_class.rows},
            "prior": {"rows": self.prior.rows, "sentence": self.prior.sentence},
            "seed": self.seed,
            "notes": self.notes,
        }

    def table(self) -> list[list[str]]:
        """Rows for printing, the first one the heading: probe, metric, and a column per subject; in per cent."""
        subjects = list(dict.fromkeys(score.subject for score in self.scores))
        cells = {(score.probe, score.metric, score.subject): _cell(score) for score in self.scores}
        keys = dict.fromkeys((score.probe, score.metric) for score in self.scores)
        heading = ["probe", "metric", *(f"{name} (%)" for name in subjects)]
        return [heading, *([*key, *(cells.get((*key, name), "") for name in subjects)] for key in keys)]


def evaluate_subjects(
    subjects: Sequence[Subject],
    probes: Sequence[Probe],
    seed: int,
    progress: Progress | None = None,
    detail: str | None = None,
) -> Evaluation:
    """Judges every subject by every probe and compares the one named "trained" (else the first) with all others.

    `detail`: the probe, by the name its scores carry, of the per-class table and the prior; by default logistic
    regression, else the first that predicts classes. `progress` is called with (judgements done, in all).
    Raises UserError where subjects do not share their images, or `detail` is no probe here that predicts classes.
    """
    _require_same_images(subjects)
    scores: list[Score] = []
    notes: list[str] = []
    origin: dict[str, Probe] = {}
    for done, (probe, subject) in enumerate((probe, subject) for probe in probes for subject in subjects):
        found, said = judge(probe, subject, seed)
        scores += found
        notes += said
        origin |= {score.probe: probe for score in found}
        if progress is not None:
            progress(done + 1, len(probes) * len(subjects))
    judged = _judged(subjects)
    chosen = _detailed(scores, detail)
    comparisons = list(_comparisons(scores, judged.name, seed))
    per_class = _per_class(subjects, scores, chosen)
    score = _predictions(scores, chosen).get(judged.name)
    prior = Prior() if chosen is None or score is None else weigh_prior(judged, origin[chosen], score, seed)
    return Evaluation(scores, comparisons, per_class, prior, seed, notes + prior.notes)


def baseline_subjects(
    train_images: Images,
    train_labels: np.ndarray,
    val_images: Images,
    val_labels: np.ndarray,
    classes: Sequence[str],
    progress: Progress | None = None,
) -> list[Subject]:
    """The subjects that need no encoder: "pixels" (made at most 32 wide and high) and "hand-made" (HOG and colour).

    images (N, H, W, C) uint8, labels (N,) int codes into `classes`. `progress` is called with (images done, in all).
    """
    total = len(train_images) + len(val_images)

    def telling(before: int) -> Progress:
        return lambda done, _: progress(before + done, total) if progress is not None else None

    made = (
        ("pixels", pixel_features(train_images), pixel_features(val_images)),
        (
            "hand-made",
            handmade_features(train_images, telling(0)),
            handmade_features(val_images, telling(len(train_images))),
        ),
    )
    return [
        Subject(
            name,
            Labelled(train, np.asarray(train_labels, dtype=np.int64), train_images),
            Labelled(val, np.asarray(val_labels, dtype=np.int64), val_images),
            tuple(classes),
        )
        for name, train, val in made
    ]


def _require_same_images(subjects: Sequence[Subject]) -> None:
    names = [subject.name for subject in subjects]
    if not names or len(set(names)) < len(names):
        raise UserError(f"Cannot compare subjects named {names}: give at least one, each with a name of its own.")
    first = subjects[0]
    for subject in subjects:
        require_sound(subject, train=len(subject.train.labels) > 0)
        same = subject.classes == first.classes and all(
            np.array_equal(mine.labels, other.labels)
            for mine, other in ((subject.train, first.train), (subject.val, first.val))
        )
        if not same:
            raise UserError(
                f"{subject.name} and {first.name} have different labels or classes, so they were not given the same "
                "images in the same order and cannot be compared. Embed one set of images with both."
            )


def _judged(subjects: Sequence[Subject]) -> Subject:
    return next((subject for subject in subjects if subject.name == "trained"), subjects[0])


def _comparisons(scores: list[Score], judged: str, seed: int) -> Iterator[Comparison]:
    own = {(score.probe, score.metric): score for score in scores if score.subject == judged}
    for other in scores:
        mine = own.get((other.probe, other.metric))
        if other.subject != judged and mine is not None:
            low, high = _difference(mine, other, seed)
            verdict = "conclusive" if low > 0 or high < 0 else "not yet"
            difference = mine.value - other.value
            yield Comparison(judged, other.subject, mine.probe, mine.metric, difference, low, high, mine.n, verdict)


def _difference(mine: Score, other: Score, seed: int) -> tuple[float, float]:
    """The 95 % interval of mine - other.

    Paired over images where both have per-image values. What a score's own interval holds beyond the sampling of images
    (the draws of few-shot) is added as if independent between the two, which is the wide side. Without per-image values
    the two intervals are set against each other end by end, wider still.
    """
    if mine.each is None or other.each is None or len(mine.each) != len(other.each):
        return mine.low - other.high, mine.high - other.low
    low, high = mean_interval(mine.each - other.each, seed)
    value = mine.value - other.value
    below, above = (value - low) ** 2, (high - value) ** 2
    for score in (mine, other):
        assert score.each is not None
        plain_low, plain_high = mean_interval(score.each, seed)
        below += max(0.0, (score.high - score.low) ** 2 - (plain_high - plain_low) ** 2) / 4
        above += max(0.0, (score.high - score.low) ** 2 - (plain_high - plain_low) ** 2) / 4
    return value - below**0.5, value + above**0.5


def _detailed(scores: list[Score], detail: str | None) -> str | None:
    """The name of the probe for the per-class table."""
    names = list(dict.fromkeys(score.probe for score in scores if score.predicted is not None))
    if detail is None:
        return next((name for name in names if name.startswith("logistic regression")), names[0] if names else None)
    if detail not in names:
        raise UserError(
            f"No probe named {detail!r} predicted classes{nearest(detail, names)}. "
            f"Give one of: {', '.join(names) or 'none did'}."
        )
    return detail


def _predictions(scores: list[Score], probe: str | None) -> dict[str, Score]:
    """The accuracy of each subject by that probe, with its predictions."""
    return {
        score.subject: score
        for score in scores
        if score.probe == probe and score.metric == "accuracy" and score.predicted is not None
    }


def _per_class(subjects: Sequence[Subject], scores: list[Score], probe: str | None) -> PerClass:
    found = _predictions(scores, probe)
    if not found:
        return PerClass()
    first = subjects[0]
    labels, rows = first.val.labels, []
    for code in np.unique(labels):
        own = labels == code
        right = {name: float((np.asarray(score.predicted)[own] == code).mean()) for name, score in found.items()}
        rows.append({"class": first.classes[code], "n": int(own.sum()), **right})
    return PerClass(probe, rows)


def _cell(score: Score) -> str:
    return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
