"""R703: can the question be answered without looking?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.observations.pictures import entering, low_level, pictures
from selfsight.observations.targets import class_path, classes
from selfsight.planted import batches, tiny
from selfsight.program import Program

HALF = 0.5
"""The share of the way from the commonest answer to all right that is worth a note."""
LOOKED = 6
"""Batches that are looked at."""


@dataclass(frozen=True)
class Shortcut(Check):
    """A pretext task is only as good as it is hard: what colour or border gives away, no network needs to understand.

    Detected: A linear model on colours, border gradients and the 8 x 8 grid of JPEG predicts the class numbers of held
    out examples. A NOTE where it gets at least half of the way from the commonest answer to all right (p < .001).
    Matters: Networks take the easiest cue there is; chromatic aberration solved the patch puzzle of Doersch and others.
    Cure: For pretext tasks, take the cue away: jitter colours, leave gaps, crop after turning. For labels, none needed.
    Blind: Every cue that is not linear in these numbers. Says nothing of what the network really uses.
    """

    code = "R703"
    title = "Can the question be answered without looking?"

    def look(self, case: Case) -> Iterator[Finding]:
        path = class_path(case)
        if path is None:
            raise DoesNotApply("its answers are not one class number per example")
        shown, told = _examples(case, path)
        if shown is None or told is None or len(told.unique()) < 2 or int(told.bincount().max()) > len(told) - 10:
            raise DoesNotApply("no pictures, one to an answer, enter the model")
        right, usual, count = _solved(low_level(shown), told)
        from scipy.stats import binomtest  # late: every start would pay for it

        p = float(binomtest(right, count, usual / count, alternative="greater").pvalue)
        reach = (right - usual) / max(1, count - usual)
        if p < SURE and reach >= HALF:
            sentence = (
                f"A linear model on colours, borders and JPEG's grid answers {right} of {count} rightly; always giving "
                f"the commonest answer gets {usual}."
            )
            yield Finding(
                code=self.code, grade=Grade.NOTE, component="data", cause="no-signal-in-data", sentence=sentence,
                cure="If this is a pretext task, take those cues away by augmentation.",
                place=of_code(case.program.batches, "batches"), evidence={"right": right, "usual": usual, "of": count},
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def bright(of_label: bool) -> list[Any]:
            lit = []
            for number, (picture, label) in enumerate(batches().dataset):  # type: ignore[attr-defined]
                lit.append((picture + 2.0 * (label if of_label else number % 3), label))
            return lit

        return tiny(batches=lambda: batches(bright(True))), tiny(batches=lambda: batches(bright(False)))  # type: ignore[arg-type]


def _examples(case: Case, path: str) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """(pictures, class numbers) of some batches."""
    found = []
    for batch in case.batches[:LOOKED]:
        told = classes(leaves(batch)[path])
        for tensor in entering(case, batch).values():
            shown = pictures(tensor)
            if shown is not None and told is not None and len(shown) == len(told):
                found.append((shown, told))
                break
    found = [(shown, told) for shown, told in found if shown.shape[1:] == found[0][0].shape[1:]]
    if not found:
        return None, None
    return torch.cat([shown for shown, _ in found]), torch.cat([told for _, told in found])


def _solved(features: Tensor, told: Tensor) -> tuple[int, int, int]:
    """(right by the linear model on examples it has not seen, right by the commonest answer, how many)."""
    counts = told.bincount()
    often = counts[told] >= 4
    features, told = features[often], told[often]
    if len(told.unique()) < 2:
        return 0, len(told), len(told)
    from sklearn.linear_model import LogisticRegression  # late: every start would pay for it
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300))
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not converged is good enough here
        said = cross_val_predict(model, np.nan_to_num(features.numpy()), told.numpy(), cv=folds)
    return int((said == told.numpy()).sum()), int(told.bincount().max()), len(told)
