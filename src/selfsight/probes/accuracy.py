"""From class scores to predictions, and from predictions to accuracies with their intervals.

Shapes: M validation images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from selfsight.errors import UserError
from selfsight.maths.interval import balanced_interval, share_interval
from selfsight.probe import Score, Subject

UNEVEN = 1.5
"""Balanced accuracy is told too where the largest validation class is this many times the smallest; below, the two
differ by less than their intervals."""


def decide(subject: Subject, values: np.ndarray, restrict_to_val: bool) -> np.ndarray:
    """The best class of each row, among those that the training set holds; of equals the first.

    values (M, C), higher is better. `restrict_to_val`: only classes that validation holds too. -> (M,) int64.
    Raises UserError where no class remains.
    """
    allowed = np.isin(np.arange(len(subject.classes)), subject.train.labels)
    if restrict_to_val:
        allowed &= np.isin(np.arange(len(subject.classes)), subject.val.labels)
        require_shared(subject)
    return np.where(allowed, values, -np.inf).argmax(1)


def require_shared(subject: Subject) -> None:
    """Raises UserError where training and validation have no class in common."""
    if not np.isin(subject.val.labels, subject.train.labels).any():
        raise UserError(
            f"{subject.name}: no class of the validation images has a labelled training image, so nothing can be "
            "predicted right. Give training images of the same classes; they are matched by name."
        )


def accuracy_scores(subject: Subject, probe: str, predicted: np.ndarray, seed: int) -> Iterator[Score]:
    """Accuracy, and balanced accuracy where the classes' sizes differ: predicted (M,) codes."""
    labels = subject.val.labels
    hits = (predicted == labels).astype(np.float64)
    low, high = share_interval(hits, seed)
    yield Score(subject.name, probe, "accuracy", float(hits.mean()), low, high, len(hits), seed, hits, predicted)
    sizes = np.bincount(labels, minlength=len(subject.classes))
    held = sizes[sizes > 0]
    if held.max() >= UNEVEN * held.min():
        each = hits * (len(hits) / len(held) / sizes[labels])
        low, high = balanced_interval(hits, labels, seed)
        value = float(each.mean())
        yield Score(subject.name, probe, "balanced accuracy", value, low, high, len(hits), seed, each, predicted)
