"""Does the class prior explain a score? Then the features must not be blamed for it.

A rule trained on many images of some classes and few of others answers with the former. Where validation holds only, or
mostly, the latter, its accuracy reads near 0, far below chance, however good the features are. So the histogram of
predicted classes is set beside training's and validation's; where predictions crowd into classes that are richer in
training, the same features are judged again with the prior's hands tied: only validation's classes can be predicted,
every class weighs the same in training, or both.

Shapes: N training images, M validation images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from selfsight.maths.interval import mean_interval
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.note import judge

EXCESS = 0.25
"""The prior is suspected where rich classes get this share of predictions more than their share of validation. Twenty
random splits of 600 emoji in 41 classes gave at most 0.17; validation of 12 classes rare in training gave 0.86 to 0.99.
"""

RICH = 2.0
"""A class is rich where its share of training is at least this many times its share of validation."""

CURES: tuple[tuple[str, dict[str, bool]], ...] = (
    ("with predictions limited to validation's classes", {"restrict_to_val": True}),
    ("with balanced training", {"balanced": True}),
    ("with both", {"restrict_to_val": True, "balanced": True}),
)
"""What is tried, by the names that such settings have in every probe."""


@dataclass(frozen=True)
class Prior:
    """Where the judged subject's predictions went, beside where training and validation images lie."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """{"class", "train", "val", "predicted"}: numbers of images, classes that training or validation holds."""
    sentence: str | None = None
    """What the class prior did to a score, where it did something; else None."""
    notes: list[str] = field(default_factory=list)
    """What the probe had to say when it judged again."""


def weigh_prior(subject: Subject, probe: Probe, score: Score, seed: int) -> Prior:
    """Looks at where `score`, the accuracy of `subject` by `probe`, put its predictions; judges again if need be."""
    if score.predicted is None:
        return Prior()
    counted = (subject.train.labels, subject.val.labels, score.predicted)
    train, val, predicted = (np.bincount(codes, minlength=len(subject.classes)) for codes in counted)
    rows = [
        {"class": name, "train": int(train[code]), "val": int(val[code]), "predicted": int(predicted[code])}
        for code, name in enumerate(subject.classes)
        if train[code] or val[code]
    ]
    rich = (train > 0) & (train / train.sum() >= RICH * val / val.sum())
    excess = (predicted[rich].sum() - val[rich].sum()) / val.sum()
    if excess < EXCESS:
        return Prior(rows)
    told, better, notes = _cured(subject, probe, score, seed)
    # crowding alone is no artefact: the sentence is said only where untying the prior conclusively helps
    sentence = f"{_trap(subject, score, rich)} The same features give {_listed(told)}." if better else None
    return Prior(rows, sentence, notes)


def _cured(subject: Subject, probe: Probe, score: Score, seed: int) -> tuple[list[str], bool, list[str]]:
    """What each cure that the probe knows gives, whether any is conclusively better, and notes."""
    known = {item.name for item in fields(probe)} if is_dataclass(probe) else set[str]()
    told, better, notes = [], False, []
    for words, settings in CURES:
        if any(name not in known or getattr(probe, name) for name in settings):
            continue
        scores, said = judge(replace(probe, **settings), subject, seed)  # type: ignore[type-var]
        notes += said
        again = next(item for item in scores if item.metric == "accuracy")
        told.append(f"{_percent(again.value)} {words}")
        better |= mean_interval(np.asarray(again.each) - np.asarray(score.each), seed)[0] > 0
    return told, better, notes


def _trap(subject: Subject, score: Score, rich: np.ndarray) -> str:
    """The sentence's first part: how many predictions went where, and why."""
    predicted = np.asarray(score.predicted)
    codes = np.arange(len(subject.classes))
    absent = np.isin(codes, subject.train.labels) & ~np.isin(codes, subject.val.labels)
    start = f"The class prior explains a low score: {score.probe} gives {subject.name} {_percent(score.value)}, but "
    if absent[predicted].any():
        return start + (
            f"{_percent(absent[predicted].mean())} of its predictions fell into the {_classes(absent)} that validation "
            f"does not hold and {_percent(absent[subject.train.labels].mean())} of the training images belong to."
        )
    return start + (
        f"{_percent(rich[predicted].mean())} of its predictions fell into the {_classes(rich)} that "
        f"{_percent(rich[subject.train.labels].mean())} of the training images and only "
        f"{_percent(rich[subject.val.labels].mean())} of the validation images belong to."
    )


def _classes(which: np.ndarray) -> str:
    return "one class" if which.sum() == 1 else f"{int(which.sum())} classes"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
