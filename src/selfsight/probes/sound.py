"""Whether a subject can be judged at all: asked once by every probe, so that a broken encoder is told, not scored."""

from __future__ import annotations

import numpy as np

from selfsight.errors import UserError
from selfsight.probe import Labelled, Subject


def require_sound(subject: Subject, train: bool = True) -> None:
    """Raises UserError where images, features and labels do not fit together or features are not finite numbers.

    `train`: whether the probe needs labelled training images.
    """
    parts = {"validation": subject.val} | ({"training": subject.train} if train else {})
    for name, part in parts.items():
        _require_part(subject, name, part)
    if train and subject.train.features.shape[1] != subject.val.features.shape[1]:
        raise UserError(
            f"{subject.name}: training features have {subject.train.features.shape[1]} numbers and validation features "
            f"{subject.val.features.shape[1]}; both must come from the same encoder. Embed them again."
        )


def _require_part(subject: Subject, name: str, part: Labelled) -> None:
    count = len(part.labels)
    if count == 0:
        raise UserError(
            f"{subject.name}: there are no labelled {name} images, and at least one is needed. "
            "Give labelled data with a train and a val split."
        )
    if part.features.ndim != 2 or len(part.features) != count or len(part.images) != count:
        raise UserError(
            f"{subject.name}: {name} features of shape {part.features.shape} and {len(part.images)} images do not fit "
            f"{count} labels; one row of features and one image per label is expected. Embed exactly these images."
        )
    if part.labels.min() < 0 or part.labels.max() >= len(subject.classes):
        raise UserError(
            f"{subject.name}: {name} labels run from {part.labels.min()} to {part.labels.max()}, but there are "
            f"{len(subject.classes)} classes, so 0 to {len(subject.classes) - 1} is expected. "
            "Leave out images without a label."
        )
    broken = int((~np.isfinite(part.features).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{subject.name}: the features of {broken} of {count} {name} images hold infinite or undefined numbers, so "
            "nothing can be measured. The encoder has diverged: train again with a lower learning rate."
        )
