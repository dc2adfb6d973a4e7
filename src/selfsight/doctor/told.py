"""What a run that has ended says of itself, among the doctor's findings and explained like its checks.

The rules stand in `findings.py`. None is an alarm: each rests on one run's numbers, not on a counter-example.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfsight.check import Component, Finding, Grade
from selfsight.findings import ALIKE, ANOTHERS, BOUND, EVEN, LATE, MOST, NOISE, NOTHING, ONE, OVER, PLAIN, TRIED
from selfsight.run import Run


@dataclass(frozen=True)
class Told:
    """One code, with what `--explain` says of it."""

    code: str
    title: str
    component: Component
    cause: str
    detected: str
    matters: str
    cure: str
    blind: str

    def explained(self) -> dict[str, str]:
        """As `Check.explained`."""
        return {"Detected": self.detected, "Matters": self.matters, "Cure": self.cure, "Blind": self.blind}


TOLD = (
    Told(
        "D001", "the same picture in two splits", "data", "shared-between-splits",
        "Images are compared byte for byte while they are packed; duplicates.csv names them.",
        "What was learned by heart is taken for what was understood: scores on validation are too good.",
        "Remove them from one of the splits.",
        "Pictures that are alike and not equal.",
    ),
    Told(
        "L001", "no better than a constant", "model", "equals-constant",
        f"The mean loss of the last {LATE} steps is not below that of the best answer that is the same for every "
        "image.",
        "A network that answers the same to all has looked at none of them.",
        "Train longer; if it stays there, look at `selfsight show`: can these pictures answer the question?",
        "Tasks for which a constant is the best answer there is say so, and are not judged.",
    ),
    Told(
        "R001", "no better than untrained", "model", "no-better-than-untrained",
        "The interval of the running kNN accuracy does not lie above the untrained encoder's value.",
        "Untrained encoders are good at some sets; what does not beat them was not worth its time.",
        "Train longer, or choose views that keep what tells your classes apart.",
        "Sets without labels, and gains that are smaller than the interval.",
    ),
    Told(
        "G001", "one answer to all codes", "model", "codes-ignored",
        f"In training, the nearest of a picture's answers is less than {ALIKE:.0%} nearer than their mean; after "
        "it, two answers "
        f"to images of validation lie less than {ONE:.0%} of the way to the truth apart.",
        "A generator that ignores its code gives the mean of all that could be true: as a pair of views its "
        "answers are one picture.",
        "Train longer, draw more codes (--task.selection.codes), or take more away, so that more can be right.",
        "Answers that differ, and in nothing that matters: look at the page of `selfsight imagine`. Where codes are "
        "remembered, or a radius is set, the steps themselves are not judged.",
    ),
    Told(
        "G002", "noise for answers", "model", "noise-for-answers",
        f"In training, a random answer is more than {ANOTHERS:g} times as far from the truth as the usual change; "
        "after it, more "
        f"than {NOISE:g} times as far as what was left.",
        "Of very many answers of noise one is near by chance, so that the loss falls while no answer is worth showing.",
        "Train longer, or draw fewer codes.",
        "Answers that are plausible and wrong: a distance to one truth cannot tell.",
    ),
    Told(
        "G003", "nothing to restore", "model", "nothing-removed",
        f"In training, the corruption took less than {NOTHING:.1%} of a picture away on average.",
        "The loss is told in units of what was taken: of nothing, every answer is far too far away.",
        "Choose a corruption that these pictures can suffer: colour can be taken from pictures in colour alone.",
        "Pictures of which one in a thousand is hit: raise chance.",
    ),
    Told(
        "G004", "worse than what was left", "model", "worse-than-left",
        "After training, even the nearest of 8 answers to each picture is farther from the truth than what was left of "
        "it.",
        "An answer is meant to bring something back; such answers only add damage to damage.",
        "Train longer, or take more away.",
        "Answers of which one in 8 is nearer and the others are far: the report tells a random one's distance too. "
        "Measured on validation images, or where there are fewer than 16 on those it learned from.",
    ),
    Told(
        "P001", "policy at its bound", "model", "policy-at-bound",
        f"The evenness of its choices is below {BOUND:g}, and one has more than {MOST:.0%} of the images, over the "
        f"last {LATE} of {TRIED} steps and more.",
        "A policy that chooses one thing for all images costs its time and gives what a fixed setting would.",
        "Lower --task.views.rate; of corruptions, take what it chooses out of --task.views.actions.",
        "Whether that one choice is the best there is.",
    ),
    Told(
        "P002", "reward without signal", "model", "reward-without-signal",
        f"After {TRIED} steps and more the choices are as even as they began ({EVEN:.0%} of the greatest evenness, "
        "or more).",
        "What was to be learned is chosen at random, and results would be those of chance.",
        "Train longer or raise --task.views.rate; with reward none the same costs less.",
        "A reward that misleads: the policy then moves, and only a probe tells that it was wrong.",
    ),
    Told(
        "P003", "budget that cannot be held", "model", "over-budget",
        f"In the mean of the last {LATE} of {TRIED} steps and more {OVER:.0%} more of a picture is removed than the "
        "budget says.",
        "An arm that takes more away than another is not comparable with it.",
        "Add a milder corruption to --task.views.actions, or raise --task.views.budget.",
        "Single batches: what is drawn deviates from what is expected.",
    ),
)  # fmt: skip
assert {told.code for told in TOLD} == set(PLAIN)


def told_by(subject: Any) -> list[Finding]:
    """What a run, or the folder of one, says of itself: notes. Nothing of any other subject."""
    if isinstance(subject, str | os.PathLike) and (Path(subject) / "recipe.json").is_file():
        subject = Run.open(subject)
    if not isinstance(subject, Run):
        return []
    known = {told.code: told for told in TOLD}
    return [
        Finding(
            code=one["code"], grade=Grade.NOTE, component=known[one["code"]].component, cause=known[one["code"]].cause,
            sentence=one["sentence"], cure=one["cure"],
        )
        for one in subject.json("findings") or []
        if one and one.get("code") in known
    ]  # fmt: skip
