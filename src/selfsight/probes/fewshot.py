"""Few-shot: how far do 1, 5 or 10 labelled images per class go?

Nearest class mean by cosine, after subtracting the mean of all training features: Wang, Chao, Weinberger, van der
Maaten, "SimpleShot" (2019), the CL2N classifier. With a handful of images nothing can be held out to choose a
regularisation, and this rule has none; every subject is judged by its geometry alone.

Shapes: N training images, M validation images, D features, C classes, R draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from selfsight.maths.interval import crossed_interval
from selfsight.maths.nearest import mean, unit
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.accuracy import require_shared
from selfsight.probes.note import ProbeNote
from selfsight.probes.order import content_order
from selfsight.probes.sound import require_sound


@dataclass(frozen=True)
class FewShot(Probe):
    """Good for telling what labels would buy. Poor for ranking close encoders: the intervals are wide."""

    shots: tuple[int, ...] = (1, 5, 10)
    """Labelled images per class, each >= 1; one score for each."""
    draws: int = 20
    """How often the labelled images are drawn anew, >= 2."""
    restrict_to_val: bool = False
    """Only classes that validation holds can be predicted."""

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        require_sound(subject)
        order = content_order(subject.train)
        labels = subject.train.labels[order]
        centre = mean(subject.train.features)
        train, val = unit(subject.train.features[order], centre), unit(subject.val.features, centre)
        classes = np.unique(labels)
        if self.restrict_to_val:
            require_shared(subject)
            classes = classes[np.isin(classes, subject.val.labels)]
        members = [np.flatnonzero(labels == code) for code in classes]
        for shots in self.shots:
            if max(len(own) for own in members) < shots:
                note = f"few-shot of {subject.name}: no class has {shots} training images; that score is left out."
                warnings.warn(ProbeNote(note), stacklevel=2)
                continue
            yield self._score(subject, seed, shots, train, val, classes, members)

    def _score(
        self,
        subject: Subject,
        seed: int,
        shots: int,
        train: torch.Tensor,
        val: torch.Tensor,
        classes: np.ndarray,
        members: list[np.ndarray],
    ) -> Score:
        """A class that has fewer images than asked gives all it has."""
        generator = np.random.default_rng([seed, shots])
        hits = np.empty((self.draws, len(val)))
        for draw in range(self.draws):
            picked = [np.sort(generator.permutation(own)[:shots]) for own in members]
            centres = unit(torch.stack([train[own].mean(0) for own in picked]))
            predicted = classes[(val @ centres.T).argmax(1).numpy()]
            hits[draw] = predicted == subject.val.labels
        low, high = crossed_interval(hits, seed)
        setting = ", val classes only" if self.restrict_to_val else ""
        name = f"few-shot ({shots} per class{setting})"
        each = hits.mean(0)
        return Score(subject.name, name, "accuracy", float(each.mean()), low, high, len(each), seed, each)
