"""Retrieval: shown one image, does the representation find others of its class?

Every validation image queries the other validation images by cosine (the validation mean removed, as in kNN). Recall@k
is the share of queries with a relevant image among the first k; mAP is over the whole ranking. Queries without a
relevant image are left out.

Shapes: M validation images, D features, Q queries.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from selfsight.maths.interval import mean_interval, share_interval
from selfsight.maths.nearest import mean, unit
from selfsight.maths.ranking import rank_relevant
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.note import ProbeNote
from selfsight.probes.sound import require_sound


@dataclass(frozen=True)
class Retrieval(Probe):
    """Good where the use is search; needs no training labels. Poor as a stand-in for accuracy: it punishes a class
    that falls into several groups."""

    ranks: tuple[int, ...] = (1, 5)
    """Ranks k of recall@k, each >= 1."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        require_sound(subject, train=False)
        features = unit(subject.val.features, mean(subject.val.features))
        found, precision = rank_relevant(features, subject.val.labels, self.ranks)
        queries = ~np.isnan(precision)
        if not queries.any():
            note = f"retrieval of {subject.name}: no validation class has two images; nothing can be found."
            warnings.warn(ProbeNote(note), stacklevel=2)
            return
        count = int(queries.sum())
        for place, rank in enumerate(self.ranks):
            each = found[queries, place]
            low, high = share_interval(each, seed)
            value = float(each.mean())
            yield Score(subject.name, "retrieval", f"recall@{rank}", value, low, high, count, seed, each)
        each = precision[queries]
        low, high = share_interval(each, seed) if each.min() == each.max() == 1 else mean_interval(each, seed)
        yield Score(subject.name, "retrieval", "mAP", float(each.mean()), low, high, count, seed, each)
