"""A diagnosis: findings ranked to a cause, with what was looked at and what was not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from selfsight.check import Finding, Grade
from selfsight.findings import DOUBTS, POLICIES

NOTHING, FOUND, IMPOSSIBLE = 0, 1, 2
"""Exit codes: no finding, findings, could not be examined."""
DOUBTED = (*DOUBTS, *POLICIES)
"""Notes on what a run has learned that the verdict names: nothing was wrong with how, and yet it is not to be used."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """The cure tried: progress before and after the cause was swapped out; whether the check that spoke is silent."""

    component: str
    swapped: str
    """What took its place: "plain loop and Adam"."""
    on: Literal["frozen batches", "a short training", "the check's own trainings"]
    """What progress is measured on."""
    before: float
    after: float
    """Progress from 0, the best constant answer, to 1, the best of all. Of frozen batches, the worse of two."""
    better: bool
    """Whether it learns now: frozen batches are fitted that were not (progress 0.9); or pieces of a short training
    have less loss than before (Wilcoxon, p < 1e-3), by a tenth of the way at least."""
    silent: bool = False
    """Whether the check that spoke, asked of the program with this in place, finds its cause no longer."""
    curve_before: tuple[float, ...] = ()
    curve_after: tuple[float, ...] = ()

    @property
    def restored(self) -> bool:
        """Whether the cure is shown: it learns where it did not, or the counter-example is gone."""
        return self.better or self.silent

    @property
    def said(self) -> str:
        """What came of it, in one clause."""
        if self.better:
            gone = ", and the check that spoke has nothing more to say" if self.silent else ""
            return f"it learns now{gone}: this component is the cause, or hides it"
        if self.silent:
            return "the check that spoke, asked again, has nothing more to say"
        return "not enough by itself: this much was learned before too, or more than this is wrong"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the doctor says of one program."""

    name: str
    """What was examined, as the user named it."""
    findings: tuple[Finding, ...] = ()
    """The likeliest cause first; notes last."""
    passed: tuple[str, ...] = ()
    """Codes of the checks that found nothing."""
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    """Code -> why it has nothing to ask this program."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Code -> why it could not be asked: out of time, or it failed its own test."""
    repair: Repair | None = None
    progress: float | None = None
    """How far the program's own steps fit a frozen batch; None where there is no scale or nothing was fitted."""
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Title -> PNG of what the network is given."""
    printed: int = 0
    """How often the program wrote to the screen while it was examined."""
    broken: str | None = None
    """Why the program cannot be examined; None where it can."""
    seconds: float = 0.0

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are PROVEN or MEASURED."""
        return tuple(finding for finding in self.findings if finding.alarms)

    @property
    def exit_code(self) -> int:
        return FOUND if self.alarms else IMPOSSIBLE if self.broken else NOTHING

    @property
    def verdict(self) -> str:
        """The diagnosis in one sentence."""
        if self.alarms:
            first = self.alarms[0]
            rest = len({(finding.component, finding.cause) for finding in self.alarms}) - 1
            more = f" ({rest} more finding{'s' if rest > 1 else ''} below.)" if rest else ""
            lead = "Something is wrong" if first.grade is Grade.PROVEN else "Something is very likely wrong"
            return f"{lead}, and it is in the {first.component}: {_lowered(first.sentence)}{more}"
        if self.broken:
            return f"This program could not be examined: {self.broken}"
        asked = f"{len(self.passed)} checks found nothing"
        if self.progress is not None and self.progress < 0.25:
            return f"I do not know: {asked}, yet it does not fit a frozen batch (progress {self.progress:.2f})."
        if self.doubted:
            came = f"but with what came of it: {_lowered(self.doubted)}"
            return f"I found nothing wrong with the training ({asked}), {came}"
        if self.progress is not None and self.progress >= 0.9:
            return f"I found nothing wrong: {asked}, and it fits a frozen batch by its own steps."
        return f"I found nothing wrong: {asked}."

    @property
    def doubted(self) -> str:
        """Why what came of the training is not to be used, though nothing is wrong with how; "" where it is."""
        return next((finding.sentence for finding in self.findings if finding.code in DOUBTED), "")

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        value = dataclasses.asdict(dataclasses.replace(self, pictures={}))
        del value["pictures"]
        for finding in value["findings"]:
            finding["grade"] = str(finding["grade"])
        return value | {"verdict": self.verdict, "exit_code": self.exit_code}


def _lowered(sentence: str) -> str:
    """A sentence as a clause: its first letter small, unless it begins a name or a code."""
    first = sentence.split(" ", 1)[0]
    return (
        sentence
        if not first[:1].isupper() or any(letter.isupper() for letter in first[1:])
        else (sentence[0].lower() + sentence[1:])
    )
