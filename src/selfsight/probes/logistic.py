"""Logistic regression: can a linear rule read the class off the representation?

scikit-learn's multinomial logistic regression (L-BFGS) on standardised features. Its strength C is chosen on a fifth of
the training images that is held out, stratified (on five fifths in turn where images are few), never on validation;
then it is fitted again on all of them. More than
1,024 features are first reduced to their 512 principal directions, which bounds the time (the pixels of 32 x 32 colour
images keep 97 % or more of their variance).

Shapes: N training images, M validation images, D features, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsight.maths.spectrum import principal
from selfsight.probe import Probe, Score, Subject
from selfsight.probes.accuracy import accuracy_scores, decide
from selfsight.probes.note import ProbeNote
from selfsight.probes.order import content_order
from selfsight.probes.sound import require_sound

WIDE, KEPT = 1024, 512
"""More features than the first are reduced to the second."""

TOGETHER = 128
"""Features whose deviations are found at once, in float64."""

TOLERANCE = 3e-4
"""Gradient at which a fit has converged: three times finer moves accuracy by 0.1 points and takes twice as long."""

FEW = 2000
"""Up to so many training images C is chosen on five held-out parts in turn: one part of 400 errs by 2.5 points."""

PATIENCE = 2
"""The search goes from strong regularisation to weak, which costs ever more, and ends after so many worse values."""


@dataclass(frozen=True)
class Logistic(Probe):
    """Good as the standard linear probe. Poor with very few labels (use few-shot) and many classes (slow)."""

    restrict_to_val: bool = False
    """Predict only classes that validation holds; training is the same."""
    balanced: bool = False
    """Weight every class alike in training, whatever its size."""
    strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
    """Values of C to choose from, ascending; small is strong regularisation."""
    steps: int = 500
    """Steps of L-BFGS at most in the last fit; two fifths of that for each value of C."""
    most: int = 10_000
    """Training images at most for choosing C."""

    @property
    def name(self) -> str:
        settings = ["balanced"] * self.balanced + ["val classes only"] * self.restrict_to_val
        return f"logistic regression ({', '.join(settings)})" if settings else "logistic regression"

    def scores(self, subject: Subject, seed: int) -> Iterator[Score]:
        require_sound(subject)
        order = content_order(subject.train)
        train, val = standardised(subject.train.features, subject.val.features, order)
        labels = subject.train.labels[order]
        held = np.unique(labels)
        values = np.zeros((len(val), len(subject.classes)))
        if len(held) > 1:
            model = self._model(self._strength(train, labels, subject, seed), self.steps)
            if _fit(model, train, labels) >= self.steps:
                note = f"{self.name} of {subject.name} had not converged after {self.steps} steps (C = {model.C:g})."
                warnings.warn(ProbeNote(note), stacklevel=2)
            values[:, held] = _logits(model, val)
        predicted = decide(subject, values, self.restrict_to_val)
        yield from accuracy_scores(subject, self.name, predicted, seed)

    def _model(self, strength: float, steps: int, warm: bool = False) -> Any:
        from sklearn.linear_model import LogisticRegression

        weight = "balanced" if self.balanced else None
        return LogisticRegression(C=strength, max_iter=steps, tol=TOLERANCE, class_weight=weight, warm_start=warm)

    def _strength(self, train: np.ndarray, labels: np.ndarray, subject: Subject, seed: int) -> float:
        """The C that is best on held-out training images; of equals the strongest regularisation."""
        if len(self.strengths) == 1:
            return self.strengths[0]
        folds = held_out(labels, self.most, seed)
        if len(folds[0][1]) == 0 or len(np.unique(labels[folds[0][0]])) < 2:
            note = f"{self.name} of {subject.name}: too few training images to choose C; it is 1."
            warnings.warn(ProbeNote(note), stacklevel=3)
            return 1.0
        models = [self._model(self.strengths[0], max(1, 2 * self.steps // 5), warm=True) for _ in folds]
        found: list[float] = []
        for strength in self.strengths:
            parts = zip(models, folds, strict=True)
            found.append(round(float(np.mean([self._held_score(*part, strength, train, labels) for part in parts])), 9))
            if len(found) > PATIENCE and max(found[-PATIENCE:]) < max(found):
                break
        return self.strengths[int(np.argmax(found))]

    def _held_score(
        self, model: Any, fold: tuple[np.ndarray, np.ndarray], strength: float, train: np.ndarray, labels: np.ndarray
    ) -> float:
        """Fits `model`, from where it is, to one part and gives its (balanced) accuracy on the other."""
        fit, held = fold
        _fit(model.set_params(C=strength), train[fit], labels[fit])
        right = model.classes_[_logits(model, train[held]).argmax(1)] == labels[held]
        weight = 1 / np.bincount(labels[held])[labels[held]] if self.balanced else np.ones(len(held))
        return float((right * weight).sum() / weight.sum())


def standardised(train: np.ndarray, val: np.ndarray, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Both with the training set's means removed and its deviations made 1, at most `WIDE` features.

    train (N, D), val (M, D), which stay as they are -> (N, d), in the given order, (M, d) float32. A feature that never
    changes in training becomes 0. One copy of each is made: of 200,000 images their pixels are gigabytes.
    """
    train = train.astype(np.float32) if order is None else train[order].astype(np.float32, copy=False)
    val = val.astype(np.float32)
    columns = [slice(start, start + TOGETHER) for start in range(0, train.shape[1], TOGETHER)]
    centre, scale = (
        np.concatenate([made(train[:, some], 0, dtype=np.float64) for some in columns]) for made in (np.mean, np.std)
    )
    still = scale <= 1e-6 * np.abs(centre)  # what float32 leaves of a constant
    factor = np.where(still, 0.0, 1 / np.where(still, 1.0, scale)).astype(np.float32)
    for rows in (train, val):
        rows -= centre.astype(np.float32)
        rows *= factor
    if train.shape[1] > WIDE:
        middle, directions = principal(train, min(KEPT, len(train)))
        for rows in (train, val):
            rows -= middle
        train, val = train @ directions, val @ directions
    return train, val


def held_out(labels: np.ndarray, most: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices to fit on and to choose on, about 4 : 1 within every class, at most about `most` in all.

    One such pair, or five whose second parts are disjoint (in classes of five or more) where there are at most `FEW`
    images, for then one held-out part is too small to tell values of C apart. A class with one image is only fitted on.
    """
    generator = np.random.default_rng(seed)
    pairs: list[tuple[list[np.ndarray], list[np.ndarray]]] = [([], []) for _ in range(5 if len(labels) <= FEW else 1)]
    for code in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == code))
        members = members[: max(2, round(len(members) * min(1.0, most / len(labels))))]
        out = max(1, len(members) // 5) if len(members) > 1 else 0
        for place, (fit, held) in enumerate(pairs):
            turned = np.roll(members, -place * out)
            held.append(turned[:out])
            fit.append(turned[out:])
    return [(np.sort(np.concatenate(fit)), np.sort(np.concatenate(held))) for fit, held in pairs]


def _fit(model: Any, features: np.ndarray, labels: np.ndarray) -> int:
    """Fits in place -> the number of steps made. Whether that was enough is for the caller to say."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # two thread pools take turns in every step; beside other work on two cores that is 10 times slower than one thread
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return int(np.max(model.n_iter_))


def _logits(model: Any, features: np.ndarray) -> np.ndarray:
    """(M, D) -> (M, number of classes the model knows)."""
    values = model.decision_function(features)
    return np.stack([-values, values], 1) if values.ndim == 1 else values
