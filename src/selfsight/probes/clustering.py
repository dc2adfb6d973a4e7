"""Clustering: do the classes stand apart by themselves, without any label?

k-means (Lloyd, with k-means++ starts; scikit-learn's) on validation features from which the mean was removed and whose
length was made 1, with as many clusters as validation has classes; then the agreement with the classes. More than 256
features are reduced to their 256 principal directions, which bounds the time. The interval is over images, for the
clustering that was found.

Shapes: M validation images, D features, K clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from selfsight.maths.agreement import agreement
from selfsight.maths.nearest import mean, unit
from selfsight.maths.spectrum import principal
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.sound import require_sound

MOST_FEATURES = 256


@dataclass(frozen=True)
class Clustering(Probe):
    """Good for sets with balanced classes. Poor where sizes differ a lot: k-means likes clusters of one size."""

    starts: int = 5
    """Times k-means begins anew, >= 1; the tightest clustering counts."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        require_sound(subject, train=False)
        labels = subject.val.labels
        count = len(np.unique(labels))
        features = unit(subject.val.features, mean(subject.val.features)).numpy()
        if features.shape[1] > MOST_FEATURES:
            middle, directions = principal(features, min(MOST_FEATURES, len(features)))
            features = (features - middle) @ directions
        clusters = self._clusters(features, count, seed)
        name = f"clustering (k-means, k={count})"
        for metric, found in zip(("NMI", "ARI"), agreement(clusters, labels, seed), strict=True):
            value, low, high = (float(number) for number in found)
            yield Score(subject.name, name, metric, value, low, high, len(labels), seed)

    def _clusters(self, features: np.ndarray, count: int, seed: int) -> np.ndarray:
        """(M, D) -> (M,) cluster codes; fewer than `count` where there are fewer different images."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        count = min(count, len(np.unique(features, axis=0)))
        # several threads add up the centres in the order in which they finish, and the last digits differ
        with threadpool_limits(limits=1, user_api="openmp"):
            return KMeans(count, n_init=self.starts, random_state=seed).fit_predict(features)
