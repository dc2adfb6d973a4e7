"""Y106: do training and validation number their classes alike?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.clock import Allowance
from selfsight.instruments.nest import leaves, rows
from selfsight.instruments.place import of_code
from selfsight.instruments.snapshot import Snapshot
from selfsight.observations.items import digest, loader
from selfsight.observations.numbering import Told, example_table, name_tables, nearest, renumbered, understood
from selfsight.observations.targets import class_path, classes
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program

PASS = 40
"""Batches of training and of validation that are compared."""
STEPS, SECONDS = 150, 8.0
"""How long the program is trained where cheap features tell nothing."""


@dataclass(frozen=True)
class LabelMap(Check):
    """Each split that numbers the folders it finds gives other numbers as soon as one folder is missing.

    Detected: PROVEN where two tables from class name to number, held by the data sets of training and validation,
    disagree on a name. MEASURED where another numbering of the validation answers fits better: neighbours by shape
    among the training pictures, or the program itself after 150 steps, predict them; the numbering is found on one half
    and beats the given one on the other (McNemar, p < .001), while on training examples that were kept back the given
    one is right more often than the commonest answer (p < .001), and no other is better.
    Matters: Validation then reports chance, or worse, for a network that is right; the wrong thing gets repaired.
    Cure: Make one table from the training classes and use it everywhere.
    Blind: Classes that neither neighbours nor the briefly trained program can tell; answers that are no class numbers.
    A note counts validation pictures that are also in training.
    """

    code = "Y106"
    title = "Do training and validation number their classes alike?"
    needs = ("validation",)
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        named = _named(case)
        if named:
            name, one, two = named
            sentence = f"{name!r} is class {one} in training and class {two} in validation."
            cure = "Make one table from class name to number, and hand it to both."
            yield self._finding(case, Grade.PROVEN, sentence, cure, training=one, validation=two)
            return
        path = class_path(case)
        if path is None:
            raise DoesNotApply("its answers are not one class number per example")
        trained, held = _some(case, "batches"), _some(case, "validation")
        yield from self._doubles(case, path, trained, held)
        for source, (ours, theirs) in _predictions(case, path, trained, held):
            found = renumbered(*theirs)
            if found is None or not understood(*ours) or renumbered(*ours) is not None:
                continue
            moved, better, worse, p = found
            share = ", ".join(f"{one} for {two}" for one, two in list(moved.items())[:5])
            sentence = (
                f"Validation answers fit {source} better under another numbering ({share}): {better} of the examples "
                f"it was not made from become right and {worse} wrong (p = {p:.1g})."
            )
            cure = "Look at which number each class name gets in the two splits."
            yield self._finding(case, Grade.MEASURED, sentence, cure, right=better, wrong=worse, p=p, moved=len(moved))
            return

    def _doubles(self, case: Case, path: str, trained: list[Any], held: list[Any]) -> Iterator[Finding]:
        ours = {digest(row) for batch in trained for row in _inputs(batch, path)}
        theirs = [digest(row) for batch in held for row in _inputs(batch, path)]
        common = sum(one in ours for one in theirs)
        if common:
            sentence = f"{common} of {len(theirs)} validation inputs are bit by bit among {len(ours)} of training."
            yield self._finding(case, Grade.NOTE, sentence, "Take them out of one of the two.", common=common)

    def _finding(self, case: Case, grade: Grade, sentence: str, cure: str, **evidence: float | int) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="labels", cause="label-map", sentence=sentence, cure=cure,
            place=of_code(case.program.validation or case.program.batches, "validation"), evidence=dict(evidence),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        whole = Quarters(192)
        training = Subset(whole, range(96))

        def program(turn: int) -> Program:
            held = [(whole[i][0], (whole[i][1] + turn) % 3) for i in range(96, 192)]
            return tiny(batches=lambda: batches(training), validation=lambda: DataLoader(held, batch_size=32))  # type: ignore[arg-type]

        return program(1), program(0)


def _named(case: Case) -> tuple[str, int, int] | None:
    """(class name, its number in training, in validation) where two tables disagree."""
    dealt = {name: loader(case, name) for name in ("batches", "validation")}
    ours, theirs = ([one.dataset] if one is not None else [] for one in dealt.values())
    training = name_tables(*([case.program.dataset] if case.has("dataset") else []), *ours)
    for attribute, two in name_tables(*theirs).items():
        one = training.get(attribute, {})
        for name in two:
            if name in one and one[name] != two[name]:
                return name, one[name], two[name]
    return None


def _some(case: Case, name: str) -> list[Any]:
    return case.guarded(f"Program.{name}", lambda: list(islice(iter(getattr(case.program, name)()), PASS)))


def _inputs(batch: Any, path: str) -> Tensor | list[Any]:
    """(N, F) everything but the answers of a batch, flattened; pictures by their grey shapes alone would collide."""
    count = rows(batch)
    parts = [leaf.float().flatten(1) for at, leaf in leaves(batch).items() if at != path and leaf.ndim > 1]
    return torch.cat(parts, 1) if count and parts else []


def _predictions(case: Case, path: str, trained: list[Any], held: list[Any]) -> Iterator[tuple[str, tuple[Told, Told]]]:
    """Who predicts, and (predictions, answers) on training and on validation examples."""
    ours, theirs = example_table(trained, path), example_table(held, path)
    if ours is not None and theirs is not None and ours[0].shape[1] == theirs[0].shape[1]:
        half = len(ours[0]) // 2
        near = nearest(ours[0][:half], ours[1][:half], ours[0][half:])
        yield "their nearest training pictures", (
            (near, ours[1][half:]), (nearest(*ours, theirs[0]), theirs[1]),
        )  # fmt: skip
    if not case.has("predict"):
        return
    half = len(trained) // 2  # trained on one half and asked about the other: what is learned by heart misleads
    if not half:
        return
    trial, allowed = case.begin(), Allowance(SECONDS)
    for number in range(min(STEPS, case.program.planned_steps or STEPS)):
        if not allowed.over:
            case.step(trial, trained[number % half], seed=number)
    told = [_said(case, trial.model, part, path) for part in (trained[half:], held)]
    if told[0] is not None and told[1] is not None:
        yield "what the program says after a short training", (told[0], told[1])


def _said(case: Case, model: Any, batches: list[Any], path: str) -> Told | None:
    before, found = Snapshot(model), list[Told]()
    model.eval()
    for batch in batches:
        told = classes(leaves(batch).get(path))
        try:
            with torch.no_grad():
                logits = case.call("predict", model, batch)
        except Failed:
            continue
        if not isinstance(logits, Tensor) or logits.ndim != 2 or told is None or len(logits) != len(told):
            continue
        if logits.shape[1] > int(told.max()):
            found.append((logits.argmax(1), told))
    before.restore()
    return (torch.cat([one for one, _ in found]), torch.cat([two for _, two in found])) if found else None
