"""D102: are the pictures pictures when they enter the network?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.place import of_code
from selfsight.observations.items import digest, inside
from selfsight.observations.layout import misread
from selfsight.observations.pictures import entering, flat, kinship, one_example, together
from selfsight.observations.targets import answers
from selfsight.planted import Quarters, tiny
from selfsight.program import Program

LOOKED, ENOUGH = 12, 1024
"""Batches that are looked at, and pictures after which no further batch is."""
BLANKS = 3
"""Fewer blank pictures than this are chance."""
MANY = 0.25
"""With so many of them blank, and answers that differ, what is blank is no class of its own."""

SIDE, NOISE, MOST = 16, 0.15, 0.9
"""Neighbours of a picture of pure noise of this side correlate by 0 +- 0.05; at least so many pictures have to be
plainly one or the other."""


@dataclass(frozen=True)
class WhatItSees(Check):
    """The last tensor before the network is the one that counts: transforms, collating and moving are behind it.

    Detected: What the program hands to its model is caught in the call. PROVEN: numbers that are not finite and make
    the loss so; a quarter of the pictures blank, or mere noise, though their answers differ, or clearly more than half
    of them blank; every example the same; a grey picture repeated along the wrong dimension; the same normalisation
    twice in one chain. MEASURED: read in another order of rows, columns and channels the pictures, or those that are
    the answers, are far smoother (sign test).
    Notes: a few blank pictures, three equal channels, numbers 0 to 255 without a layer that normalises.
    Matters: A loader that answers a broken file with zeros, or reshape in the place of permute, costs no error message.
    Cure: Draw a batch as it enters the model. permute moves axes, reshape only renames them.
    Blind: Pictures resized after they were reshaped, normalisation by hand that happens twice, wrong but real pictures.
    """

    code = "D102"
    title = "Are the pictures pictures when they enter the network?"

    def look(self, case: Case) -> Iterator[Finding]:
        yield from self._infinite(case)
        yield from self._normalised_twice(case)
        seen: dict[str, list[Tensor]] = {}
        model = case.model()
        for batch in case.batches[:LOOKED]:
            for name, tensor in entering(case, batch, model).items():
                seen.setdefault(name, []).append(tensor)
            counts = [sum(len(t) for t in tensors if t.ndim > 1) for tensors in seen.values()]
            if max(counts, default=0) >= ENOUGH:
                break
        yield from self._all_equal(case, seen)
        shown = {name: found for name, tensors in seen.items() if (found := together(tensors)) is not None}
        if not shown:
            shown = _lone_pictures(case)
        for name, found in shown.items():
            yield from self._blank(case, name, found, seen.get(name, []))
            yield from self._noise(case, name, found, seen.get(name, []))
            yield from self._order(case, name, found)
        for name, found in _pictures_of(case).items():  # answers, too: noise on the way in may hide how they lie
            if not any(misread(other) for other in shown.values()):
                yield from self._order(case, name, found)
        yield from self._notes(case, shown)

    def _infinite(self, case: Case) -> Iterator[Finding]:
        for batch in case.batches[:LOOKED]:
            found = {path: t for path, t in leaves(batch).items() if t.is_floating_point() and not t.isfinite().all()}
            if not found:
                continue
            healed = rebuilt(batch, {path: torch.nan_to_num(t, 0.0, 0.0, 0.0) for path, t in found.items()})
            model = case.model()
            if _finite(case.value(model, batch)) or not _finite(case.value(model, healed)):
                continue
            path, tensor = next(iter(found.items()))
            where = int((~tensor.isfinite()).sum())
            wrong = f"The batch{path} holds {where} numbers that are not finite, and so the loss is not either."
            yield self._finding(case, Grade.PROVEN, wrong, "Find the files or divisions they come from.", count=where)
            return

    def _normalised_twice(self, case: Case) -> Iterator[Finding]:
        for chain in inside(case.program.dataset) if case.has("dataset") else ():
            steps = getattr(chain, "transforms", None)
            if not isinstance(steps, list | tuple):
                continue
            known = [(list(step.mean), list(step.std)) for step in steps if _normalises(step)]
            if any(one in known[:i] for i, one in enumerate(known)):
                wrong = f"One chain of transforms subtracts the mean {known[0][0]} and divides by {known[0][1]} twice."
                cure = "Leave one of the two out."
                yield self._finding(case, Grade.PROVEN, wrong, cure, cause="scale-mismatch", times=2)
                return

    def _all_equal(self, case: Case, seen: dict[str, list[Tensor]]) -> Iterator[Finding]:
        count = sum(len(tensor) for tensor in next(iter(seen.values()), []) if tensor.ndim > 1)
        if count >= 8 and one_example(seen) and len({digest(batch) for batch in case.batches}) > 1:
            wrong = f"All {count} examples that enter the model are one and the same, though the batches differ."
            yield self._finding(
                case, Grade.PROVEN, wrong, "Look at what becomes of the pictures on their way.", count=count
            )

    def _blank(self, case: Case, name: str, shown: Tensor, tensors: list[Tensor]) -> Iterator[Finding]:
        blank = flat(shown)
        count, share = int(blank.sum()), float(blank.float().mean())
        if not count:
            return
        from scipy.stats import binomtest  # late: every start would pay for it

        often = binomtest(count, len(blank), 0.5, alternative="greater").pvalue < SURE
        differ = count >= BLANKS and share >= MANY and _answers_differ(case, blank, tensors)
        wrong = f"{count} of {len(blank)} pictures that enter the model as {name} are blank: every pixel has one value."
        cure = "Look for files that cannot be decoded and are answered with zeros."
        grade = Grade.PROVEN if often or differ else Grade.NOTE
        yield self._finding(case, grade, wrong, cure, blank=count, pictures=len(blank))

    def _noise(self, case: Case, name: str, shown: Tensor, tensors: list[Tensor]) -> Iterator[Finding]:
        """Some pictures have pixels that know nothing of their neighbours, and others are pictures."""
        if min(shown.shape[2:]) < SIDE:
            return
        like = kinship(shown)
        noise, seen = (like.abs() < NOISE) & ~flat(shown), like > 2 * NOISE
        count = int(noise.sum())
        shares = noise.float().mean(), seen.float().mean()
        if count < BLANKS or sum(shares) < MOST or min(shares) < MANY:
            return
        wrong = (
            f"{count} of {len(shown)} pictures that enter the model as {name} are noise, pixels that know nothing of "
            f"their neighbours; in the others neighbours are alike ({float(like[seen].mean()):.2f})."
        )
        cure = "Look for files that cannot be decoded and are answered with zeros, before noise is added."
        differ = case.has("views") or _answers_differ(case, noise, tensors)  # of views each example is its own answer
        grade = Grade.PROVEN if differ else Grade.NOTE
        yield self._finding(case, grade, wrong, cure, noise=count, pictures=len(shown))

    def _order(self, case: Case, name: str, shown: Tensor) -> Iterator[Finding]:
        found = misread(shown)
        if found is None:
            return
        cure = (
            f"The numbers lie in the order {found.order}: bring them to C, H, W with permute, not with reshape or view."
        )
        if found.ratio == float("inf"):
            wrong = f"Read as {found.order}, the channels of a picture in {name} are one grey picture; now they differ."
            yield self._finding(case, Grade.PROVEN, wrong, cure, order=found.order, pictures=found.count)
        else:
            wrong = (
                f"Read as {found.order}, the pictures in {name} are {found.ratio:.1f} times smoother than as they are "
                f"({found.count} pictures, p = {found.p:.1g}): their axes were renamed, not moved."
            )
            evidence: dict[str, Any] = {"order": found.order, "times_rougher": found.ratio, "p": found.p}
            yield self._finding(case, Grade.MEASURED, wrong, cure, **evidence)

    def _notes(self, case: Case, shown: dict[str, Tensor]) -> Iterator[Finding]:
        norms = any("norm" in type(part).__name__.lower() for part in case.model().modules())
        for name, found in shown.items():
            if found.shape[1] == 3 and bool((found == found[:, :1]).all()):
                wrong = f"The three channels of the pictures in {name} are equal: they are grey."
                yield self._finding(case, Grade.NOTE, wrong, "Nothing, if the files are grey.", pictures=len(found))
            wide = float(found.max()) > 2 and float(found.min()) >= 0
            if wide and found.is_floating_point() and not norms:
                wrong = (
                    f"The pictures in {name} go up to {float(found.max()):.0f}, and no layer of the model normalises."
                )
                cure = "Divide by 255, or normalise, before the first layer, if the model does not."
                yield self._finding(case, Grade.NOTE, wrong, cure, cause="scale-mismatch", largest=float(found.max()))

    def _finding(
        self, case: Case, grade: Grade, sentence: str, cure: str, cause: str = "not-what-you-think", **evidence: Any
    ) -> Finding:
        place = of_code(type(case.program.dataset), "dataset") if case.has("dataset") else of_code(case.program.batches)
        return Finding(
            code=self.code, grade=grade, component="data", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        class Undecoded(Quarters):
            def __getitem__(self, i: int) -> Any:
                picture, label = super().__getitem__(i)
                return (picture if i % 5 < 2 else torch.zeros_like(picture)), label

        return tiny(batches=lambda: DataLoader(Undecoded(), batch_size=16, shuffle=True)), tiny()


def _finite(value: float) -> bool:
    return value - value == 0


def _normalises(step: Any) -> bool:
    mean, std = getattr(step, "mean", None), getattr(step, "std", None)
    return callable(step) and isinstance(mean, list | tuple) and isinstance(std, list | tuple)


def _pictures_of(case: Case) -> dict[str, Tensor]:
    """What looks like pictures in the batches themselves, by path."""
    held = [leaves(batch) for batch in case.batches[:LOOKED]]
    found = {f"batch{path}": together([one[path] for one in held if path in one]) for path in held[0]}
    return {name: shown for name, shown in found.items() if shown is not None}


def _lone_pictures(case: Case) -> dict[str, Tensor]:
    """The only pictures of a batch, where the program cuts them up before they enter. Raises DoesNotApply."""
    held: dict[str, list[Tensor]] = {}
    for batch in case.batches[:LOOKED]:
        for path, leaf in leaves(batch).items():
            held.setdefault(path, []).append(leaf)
    found = {f"batch{path}": shown for path, tensors in held.items() if (shown := together(tensors)) is not None}
    if len(found) != 1:
        raise DoesNotApply("nothing that looks like pictures enters the model")
    return found


def _answers_differ(case: Case, blank: Tensor, tensors: list[Tensor]) -> bool:
    """Whether these pictures, one to an example, are to be answered in different ways."""
    told = answers(case, count=len(tensors))
    if not tensors or told is None or len(told) != len(blank) or sum(len(tensor) for tensor in tensors) != len(blank):
        return False
    return len(told[blank].reshape(int(blank.sum()), -1).unique(dim=0)) > 1
