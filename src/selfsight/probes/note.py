"""What a probe has to say beside its numbers: a fit that did not converge, a setting that could not be kept."""

from __future__ import annotations

import warnings

from selfsight.probe import Probe, Score, Subject


class ProbeNote(UserWarning):
    """A sentence about one probe of one subject. An evaluation collects these; alone, a probe warns."""


def judge(probe: Probe, subject: Subject, seed: int) -> tuple[list[Score], list[str]]:
    """The probe's scores of the subject, and its notes; any other warning goes on as it was."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ProbeNote)
        scores = list(probe.scores(subject, seed))
    notes = []
    for warning in caught:
        if issubclass(warning.category, ProbeNote):
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return scores, notes
