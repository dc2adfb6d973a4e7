"""D105: are the batches mixed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE, permutation_p
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.observations.items import loader
from selfsight.observations.pictures import entering, families, pictures
from selfsight.observations.targets import class_path, classes
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program

TIMES = 2000
"""How often the answers are dealt anew; the smallest p is then .0005."""
FIFTH = 0.2
"""The share of all differences that has to lie between batches. Photographs of ten things in order, more or less
augmented: .33 to .86; shuffled: .02 to .04; digits in the order of their writers: .05."""


@dataclass(frozen=True)
class BatchVariety(Check):
    """A step should pull towards all classes at once; one class at a time, each step undoes the last.

    Detected: MEASURED where the answers of a pass come in order of their number, or each batch holds one class only,
    and dealing the same answers into batches at random never gives batches as uniform (2000 deals). Also where a loader
    does not shuffle, and a fifth of what its pictures differ by lies between batches (same test).
    Matters: Folders are read class by class. Without shuffling the network is taught to say "cat", then "dog".
    Cure: shuffle=True, or a sampler that mixes.
    Blind: Pictures sorted by what colours, thumbnails and simple filters do not show, where the answers do not tell
    either. Classes taught one after the other on purpose look the same.
    """

    code = "D105"
    title = "Are the batches mixed?"

    def look(self, case: Case) -> Iterator[Finding]:
        path = class_path(case)
        unshuffled = _in_order(case)
        if path is None and not unshuffled:
            raise DoesNotApply(
                "its answers are not one class number per example, and its loader shuffles or is no loader"
            )
        found = list(self._by_class(case, path)) if path is not None else []
        yield from found or (self._by_looks(case) if unshuffled else ())

    def _by_class(self, case: Case, path: str) -> Iterator[Finding]:
        told = [classes(leaves(batch)[path]) for batch in case.batches]
        dealt = [one for one in told if one is not None and len(one) > 1]
        everything = torch.cat(dealt) if dealt else torch.zeros(0)
        if len(dealt) < 3 or len(everything.unique()) < 2:
            return
        steps = everything.diff()
        ordered = bool((steps >= 0).all()) or bool((steps <= 0).all())
        alike = all(bool((one == one[0]).all()) for one in dealt) and len(everything.unique()) > 2
        if not (ordered or alike):
            return
        p = _p(dealt)
        if p < SURE:
            pure = sum(bool((one == one[0]).all()) for one in dealt)
            how = "come in order of their class" if ordered else "hold one class each"
            sentence = (
                f"The first {len(everything)} examples {how}: {pure} of {len(dealt)} batches hold a single class "
                f"(p = {p:.1g} if they were mixed)."
            )
            evidence = {"batches": len(dealt), "single_class": pure, "classes": len(everything.unique()), "p": p}
            yield self._finding(case, sentence, evidence)

    def _by_looks(self, case: Case) -> Iterator[Finding]:
        shown = [_first_pictures(case, batch) for batch in case.batches]
        found = [one for one in shown if one is not None and len(one) > 1]
        found = [one for one in found if one.shape[1:] == found[0].shape[1:]]
        if len(found) < 3:
            return
        sizes = [len(one) for one in found]
        for kind in families(torch.cat(found)):
            share, p = _between(kind, sizes)
            if share >= FIFTH and p < SURE:
                sentence = (
                    f"The loader does not shuffle, and {share:.0%} of what its pictures differ by lies between batches "
                    f"(p = {p:.1g} if they were mixed): each batch holds pictures of one sort."
                )
                yield self._finding(case, sentence, {"batches": len(found), "between": share, "p": p})
                return

    def _finding(self, case: Case, sentence: str, evidence: dict[str, float | int]) -> Finding:
        return Finding(
            code=self.code, grade=Grade.MEASURED, component="data", cause="sorted-batches", sentence=sentence,
            cure="Shuffle: DataLoader(..., shuffle=True).", place=of_code(case.program.batches, "batches"),
            evidence=dict(evidence),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        data = Quarters()
        order = data.labels.argsort(stable=True)
        data.pictures, data.labels = data.pictures[order], data.labels[order]
        return tiny(batches=lambda: DataLoader(data, batch_size=16)), tiny(batches=lambda: batches(data))


def _in_order(case: Case) -> bool:
    """Whether the batches come from a loader that takes the items in their order."""
    found = loader(case, "batches")
    return found is not None and type(found.sampler) is SequentialSampler


def _first_pictures(case: Case, batch: Any) -> Tensor | None:
    """The first pictures that enter the model."""
    found = (pictures(tensor) for tensor in entering(case, batch).values())
    return next((one for one in found if one is not None), None)


def _between(features: Tensor, sizes: list[int]) -> tuple[float, float]:
    """(the share of the features' variance that lies between batches, how often random dealing gives as much)."""
    centred = features.double() - features.double().mean(0)
    centred = centred / centred.std(0, correction=0).clamp_min(1e-9)
    weights = torch.tensor(sizes).double()[:, None]
    member = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))

    def share(order: Tensor) -> float:
        means = torch.zeros(len(sizes), centred.shape[1], dtype=torch.float64).index_add_(0, member, centred[order])
        return float((means.square() / weights).sum() / centred.square().sum().clamp_min(1e-9))

    return share(torch.arange(len(centred))), permutation_p(share, len(centred), TIMES)


def _p(dealt: list[Tensor]) -> float:
    """How often dealing at random gives batches as uniform: the sum over batches of squared class counts."""
    everything = torch.cat(dealt)
    hot = torch.nn.functional.one_hot(everything.unique(return_inverse=True)[1]).float()
    sizes = [len(one) for one in dealt]

    def uniform(rows: Tensor) -> float:
        return float(sum(part.sum(0).square().sum() / len(part) for part in rows.split(sizes)))

    drawn, given = torch.Generator().manual_seed(0), uniform(hot)
    reached = sum(uniform(hot[torch.randperm(len(hot), generator=drawn)]) >= given for _ in range(TIMES))
    return (1 + reached) / (1 + TIMES)
