"""k nearest neighbours: is what is near in the representation of the same class?

Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (2018), section 3.4:
cosine similarity, neighbours vote with weight exp(similarity / 0.07). We use k = 20 (theirs is 200, for ImageNet), and
first subtract the training mean from all features: features that share an offset (pixels, anything after a ReLU) have
cosines near 1 to everything, and then the weights tell nothing apart. Every subject is treated alike.

Shapes: N training images, M validation images, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from selfsight.maths.nearest import mean, unit, vote
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.accuracy import accuracy_scores, decide, require_shared
from selfsight.probes.sound import require_sound


@dataclass(frozen=True)
class KNN(Probe):
    """Good as a first judge: nothing is trained, one setting. Poor where few features of many carry the class."""

    k: int = 20
    """Neighbours that vote, >= 1; all training images where there are fewer."""
    temperature: float = 0.07
    """Of the vote's weights, > 0; small: the nearest decides."""
    restrict_to_val: bool = False
    """Look for neighbours only among training images of classes that validation holds."""

    @property
    def name(self) -> str:
        return f"kNN (k={self.k}{', val classes only' if self.restrict_to_val else ''})"

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        require_sound(subject)
        features, labels = subject.train.features, subject.train.labels
        centre = mean(features)
        if self.restrict_to_val:
            require_shared(subject)
            kept = np.isin(labels, subject.val.labels)
            features, labels = features[kept], labels[kept]
        votes = vote(
            unit(subject.val.features, centre),
            unit(features, centre),
            torch.from_numpy(labels.astype(np.int64)),
            len(subject.classes),
            self.k,
            self.temperature,
        )
        predicted = decide(subject, votes.numpy(), self.restrict_to_val)
        yield from accuracy_scores(subject, self.name, predicted, seed)
