"""A check is one question the doctor asks a program; a finding is its answer.

Finals are frozen dataclasses in `checks/`, one file each. What a check may use stands in `case.py`.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from selfsight.case import Case
from selfsight.instruments.place import Place
from selfsight.program import Program

Component = Literal["data", "labels", "model", "loss", "optimizer", "loop", "teacher"]


class Grade(StrEnum):
    """How sure a finding is."""

    PROVEN = "PROVEN"
    """An exact counter-example; no statistics."""
    MEASURED = "MEASURED"
    """p < 1e-3 in a permutation or paired test, or an intervention that worked on two batches."""
    NOTE = "NOTE"
    """Worth knowing; never an alarm."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found."""

    code: str
    """The check's, M201 for example."""
    grade: Grade
    component: Component
    """Where the cause lies."""
    cause: str
    """A short stable word for it: mixes-examples."""
    sentence: str
    """What is wrong, in one sentence with its numbers."""
    cure: str
    """What to do, in one line."""
    place: Place = Place()
    evidence: Mapping[str, float | int | str | list[float] | list[list[float]]] = field(default_factory=dict)
    """The numbers the sentence rests on, by name."""
    tried: tuple[str, float, float] | None = None
    """What the check itself put in the place of the cause, and progress before and after, where it did so."""

    @property
    def alarms(self) -> bool:
        return self.grade is not Grade.NOTE


class DoesNotApply(Exception):
    """Why a check has nothing to ask this program: one clause, for the list of what was not looked at."""


class Check(abc.ABC):
    """One question. Its docstring has the paragraphs Detected, Matters, Cure and Blind, each on one or more lines
    that begin with the word and a colon; `--explain` and the documentation print them.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    """The question in a few words."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Optional members of Program without which it does not apply."""
    quick: ClassVar[bool] = True
    """Whether it belongs to the pre-flight: a few forward passes, no training."""
    narrow: ClassVar[bool] = False
    """Whether it looks for one thing in few programs: should time run out, it has come before those that train all."""

    @abc.abstractmethod
    def look(self, case: Case) -> Iterable[Finding]:
        """What is found; nothing where all is well. Raises DoesNotApply."""

    @abc.abstractmethod
    def planted(self) -> tuple[Program, Program]:
        """(a program on which it must find something, one on which it must stay silent), for its self-test."""

    def ask(self, case: Case) -> list[Finding]:
        """`look`, where the program gives what is needed."""
        missing = [name for name in self.needs if not case.has(name)]
        if missing:
            raise DoesNotApply(f"the program gives no {' and no '.join(missing)}")
        return list(self.look(case))

    @classmethod
    def explained(cls) -> dict[str, str]:
        """The paragraphs of the docstring by their first word; "" is what stands before them."""
        return dict(_paragraphs(inspect.cleandoc(cls.__doc__ or "")))


PARAGRAPHS = ("Detected", "Matters", "Cure", "Blind")


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in text.splitlines():
        begins = next((word for word in PARAGRAPHS if line.startswith(f"{word}:")), None)
        if begins:
            yield name, " ".join(lines).strip()
            name, lines = begins, [line.removeprefix(f"{begins}:").strip()]
        else:
            lines.append(line.strip())
    yield name, " ".join(lines).strip()
