"""D103: are random draws drawn again?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.observations.items import digest, loader, own, read, spread
from selfsight.observations.redrawn import READS, draws, forgetful, streams
from selfsight.planted import Quarters, tiny
from selfsight.program import Program

ITEMS = 8
"""Items that are looked at."""
LEAST = 4
"""Fewer random items than this prove no habit."""
PATTERN = 16
"""Numbers that a pattern has at least: the offset of a point or a box is none."""


@dataclass(frozen=True)
class FreshRandomness(Check):
    """Augmentation is worth what it adds: another picture each time. Drawn once and repeated, it is a smaller data set.

    Detected: Items are read under different random states, from a copy of the data set with its caches emptied. PROVEN
    where the first reading is random and every later one repeats it; where items are random, but two passes of batches
    are bit-equal; where the loader's workers, run as it runs them, draw the same numbers as each other or again in the
    next epoch; where the two views of an item differ, are drawn, and are the same two whatever the random state; and
    where two parts of every example differ by one and the same pattern.
    Matters: Contrastive and other self-made tasks live on fresh draws; shared streams were found in fairseq, CenterNet,
    DepthContrast and others, unnoticed for months.
    Cure: Cache before the augmentation, not after; take worker_init_fn or torch's own generators, not one made in
    __init__.
    Blind: Augmentation that was baked into the items before the program started. Data that are meant to be fixed and
    are made at the first access look like augmentation kept for ever.
    """

    code = "D103"
    title = "Are random draws drawn again?"

    def look(self, case: Case) -> Iterator[Finding]:
        alike = list(self._one_for_all(case))
        if alike:
            yield from alike
            return
        dealt = loader(case, "batches")
        dataset = case.program.dataset if case.has("dataset") else getattr(dealt, "dataset", None)
        if dataset is None or isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise DoesNotApply("there are no indexable items to read twice")
        try:
            asked = spread(case.guarded("len(Program.dataset)", lambda: len(dataset)), ITEMS)
            drawn, kept = _drawn_and_kept(case, dataset, asked)
        except Failed:
            raise DoesNotApply("its items cannot be read one by one") from None
        known = dealt is not None and not isinstance(dealt.dataset, IterableDataset)
        if known and case.program.planned_steps and case.program.planned_steps <= len(dealt):  # type: ignore[arg-type]
            return  # no item comes twice
        if len(kept) >= LEAST and len(kept) == len(drawn):
            yield self._finding("frozen-augmentation", *_KEPT, dataset, {"items": len(drawn), "repeated": len(kept)})
        elif not drawn:
            yield from self._fixed(case, dataset, asked)
        elif len(drawn) >= LEAST and _repeats(case):
            yield self._finding(
                "frozen-augmentation", *_PASSES, case.program.batches, {"items": len(drawn), "passes": 2}
            )
        elif drawn and dealt is not None and dealt.num_workers and not isinstance(dealt.dataset, IterableDataset):
            yield from self._workers(case, dealt, drawn[0])

    def _fixed(self, case: Case, dataset: Any, asked: list[int]) -> Iterator[Finding]:
        twin = own(dataset)
        if not all(draws(case, twin, index) for index in asked):
            return
        if any(digest(read(case, twin, index, 0)) != digest(read(case, twin, index, 1)) for index in asked):
            return
        evidence = {"items": len(asked)}
        grade = Grade.NOTE
        if case.has("views"):
            one, two = case.call("views", case.batch)
            grade = Grade.NOTE if digest(one) == digest(two) else Grade.PROVEN
        yield self._finding("frozen-augmentation", *_SEEDED, dataset, evidence, grade)

    def _workers(self, case: Case, dealt: DataLoader[Any], index: int) -> Iterator[Finding]:
        try:
            first, again = (streams(case, dealt, index, seed) for seed in (0, 1))
        except Failed:  # workers cannot be started here
            return
        if any(len(set(stream)) < 2 for stream in first):
            return
        evidence = {"workers": dealt.num_workers, "reads": READS}
        place = dealt.worker_init_fn or dealt.dataset
        if len(first) > 1 and first[0] == first[1]:
            repeats = " and the same again in the next epoch" if first == again else ""
            wrong = f"Two workers draw the same random numbers{repeats}: {READS} readings of an item are equal in both."
            yield self._finding("workers-share-seed", wrong, _PASSES[1], place, evidence)
        elif first == again and not dealt.persistent_workers:
            wrong = (
                f"Workers begin each epoch with the same random numbers: {READS} readings of an item are equal in two."
            )
            yield self._finding("frozen-augmentation", wrong, _PASSES[1], place, evidence)

    def _finding(
        self, cause: str, sentence: str, cure: str, thing: Any, evidence: dict[str, int], grade: Grade = Grade.PROVEN
    ) -> Finding:
        place = of_code(thing if callable(thing) else type(thing), "dataset" if not callable(thing) else "")
        return Finding(
            code=self.code, grade=grade, component="data", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=dict(evidence),
        )  # fmt: skip

    def _one_for_all(self, case: Case) -> Iterator[Finding]:
        """Two tensors of the batch, apart by what is drawn once for all examples."""
        held = {path: leaf for path, leaf in leaves(case.batch).items() if leaf.is_floating_point() and leaf.ndim > 1}
        for one, two in itertools.combinations(held, 2):
            if held[one].shape == held[two].shape and _alike(held[one] - held[two], held[one]):
                wrong = (
                    f"batch{one} and batch{two} differ by the same pattern in all {len(held[one])} examples: what was "
                    "drawn for one was drawn for all."
                )
                cure = "Draw for each example: a generator seeded inside __getitem__ begins anew with each item."
                yield self._finding("frozen-augmentation", wrong, cure, case.program.batches, {"rows": len(held[one])})
                return

    def planted(self) -> tuple[Program, Program]:
        class Noisy(Quarters):
            def __getitem__(self, i: int) -> Any:
                picture, label = super().__getitem__(i)
                return picture + 0.1 * torch.randn(picture.shape), label

        class Cached(Noisy):
            def __init__(self) -> None:
                super().__init__()
                self.memory: dict[int, Any] = {}

            def __getitem__(self, i: int) -> Any:
                if i not in self.memory:
                    self.memory[i] = super().__getitem__(i)
                return self.memory[i]

        def program(data: Any) -> Program:
            return tiny(dataset=data, batches=lambda: DataLoader(data, batch_size=16, shuffle=True))

        return program(Cached()), program(Noisy())


_KEPT = (
    "An item is drawn at random when it is first read, and every later reading repeats it bit by bit: the augmentation "
    "of the first epoch is that of all.",
    "Keep what comes before the random part in memory, not what comes after it.",
)
_PASSES = (
    "Single items are random, but two passes of batches are equal bit by bit: each epoch repeats the first.",
    "Let each worker and epoch draw anew: torch's global generator is seeded so; a generator of your own is not.",
)
_SEEDED = (
    "Each item draws random numbers, but gives the same bits whatever the random state: it is seeded by its index.",
    "Do not seed inside __getitem__ if the draws are meant as augmentation.",
)


def _alike(apart: Tensor, beside: Tensor) -> bool:
    """Whether all rows of a difference are one pattern that is neither nothing nor one number."""
    if len(apart) < LEAST or apart[0].numel() < PATTERN:
        return False
    varies = float(apart[0].std())
    rounding = 1e-5 * float(beside.abs().max())
    return varies > 100 * rounding and float((apart - apart[:1]).abs().max()) <= rounding


def _drawn_and_kept(case: Case, dataset: Any, asked: list[int]) -> tuple[list[int], list[int]]:
    """Which items are random, and which of those only at their first reading."""
    one, two = forgetful(case, dataset, asked[0]), forgetful(case, dataset, asked[0])
    drawn, kept = [], []
    for index in asked:
        first, fresh = _seen(case, one, index, 0), _seen(case, two, index, 1)
        repeats = first == _seen(case, one, index, 1) == _seen(case, one, index, 2)
        if first != fresh or not repeats:
            drawn.append(index)
            if repeats:
                kept.append(index)
    return drawn, kept


def _seen(case: Case, dataset: Any, index: int, seed: int) -> str:
    """What an item looks like, without small things: a label drawn once and kept is no augmentation."""
    return digest(read(case, dataset, index, seed), least=8)


def _repeats(case: Case) -> bool:
    """Whether two passes under different random states begin with the same batches."""
    return digest(case.passed(2, seed=0)) == digest(case.passed(2, seed=1))
