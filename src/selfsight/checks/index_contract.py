"""D101: does every item get its turn?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import IterableDataset, RandomSampler, SequentialSampler

from selfsight.case import KEPT, Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.nest import rows
from selfsight.instruments.place import Place, of_code
from selfsight.observations.items import digest, end_of, inside, kind, loader, own, read, spread
from selfsight.planted import Quarters, batches, tiny
from selfsight.program import Program

READ = 100
"""Items that are read to see what the items are like."""
BEYOND = 8
"""Items behind the end that are looked at."""
SLOPPY = 0.1
"""Fewer items left out than this share of the length are a note: one window too few harms nothing."""


@dataclass(frozen=True)
class IndexContract(Check):
    """A data set has a length and answers to the indices below it. When the two disagree, items are never seen.

    Detected: Items spread over 0..len-1 are read, and then indices behind the end until one gives no item of the kind.
    PROVEN where the length changes while items are read, where an index below the length raises though the loader asks
    for it, or where there is a stretch of further, different items behind the end which no batch can hold.
    Matters: DataLoader believes len(). With len = N // n on overlapping windows most items never occur in training, and
    nothing says so. From a journal of 2020: wrong for weeks, fixed to N - n + 1.
    Cure: Let __len__ count what __getitem__ can give; raise IndexError behind it; never change the list while reading.
    Blind: Items inside the length that are wrong, repeated or all alike; at most 100 of them are read. A length cut
    short on purpose looks the same as one miscounted.
    """

    code = "D101"
    title = "Does every item get its turn?"
    needs = ("dataset",)

    def look(self, case: Case) -> Iterator[Finding]:
        dataset, count = own(case.program.dataset), _counted(case, case.program.dataset)
        asked = spread(count, READ)
        items, raised = _read(case, dataset, asked)
        now = _counted(case, dataset)
        if now != count:
            sentence = f"The data set said it has {count} items, and {now} after {len(asked)} of them were read."
            cure = "Sort out what cannot be read before the training, not while it reads."
            yield self._finding(case, Grade.PROVEN, sentence, cure, {"before": count, "after": now, "read": len(asked)})
            return
        if not items:
            raise DoesNotApply("its items are not asked for by whole numbers")
        if raised:
            index, error = next(iter(raised.items()))
            sentence = f"Item {index} of {count} cannot be read: {error}."
            grade = Grade.PROVEN if _asks_for_all(case) else Grade.NOTE
            cure = "Let __len__ count only what __getitem__ can give."
            yield self._finding(case, grade, sentence, cure, {"items": count, "unreadable": len(raised)}, error.place)
        else:
            yield from self._beyond(case, dataset, count, items)
        yield from self._yielded(case, count)

    def _beyond(self, case: Case, dataset: Any, count: int, items: dict[int, Any]) -> Iterator[Finding]:
        kinds, known = {kind(item) for item in items.values()}, {digest(item) for item in items.values()}
        end = end_of(case, dataset, count, kinds)
        if end is None or end == count:
            return
        behind = [read(case, dataset, count + i) for i in spread(end - count, BEYOND)]
        others = [item for item in behind if digest(item) not in known]
        if len(others) < len(behind):  # some come round again
            return
        left = end - count
        certain = left >= SLOPPY * count and _asks_for_all(case, missing=True) and not _shared(case)
        sentence = (
            f"The data set says it has {count} items, but answers to {left} indices more, {count} to {end - 1}, with "
            "other items: no batch will ever hold them."
        )
        cure = f"Let __len__ return {end}, or let __getitem__ raise IndexError from {count} on if they are to stay out."
        evidence = {"length": count, "answers": end, "never_used": left}
        yield self._finding(case, Grade.PROVEN if certain else Grade.NOTE, sentence, cure, evidence)

    def _yielded(self, case: Case, count: int) -> Iterator[Finding]:
        """A note where a short pass holds far fewer examples than there are items."""
        try:
            held = [rows(batch) for batch in case.batches]
        except Failed:  # said by whoever needs the batches
            return
        total = sum(number for number in held if number)
        if len(held) < KEPT and None not in held and 2 * total < count:
            sentence = f"A pass yields {total} examples, while the data set has {count} items."
            cure = "If that is not meant, look at how the batches are cut."
            yield self._finding(case, Grade.NOTE, sentence, cure, {"items": count, "examples": total})

    def _finding(
        self, case: Case, grade: Grade, sentence: str, cure: str, evidence: dict[str, int], place: Place | None = None
    ) -> Finding:
        place = place or of_code(type(case.program.dataset), "dataset")
        return Finding(
            code=self.code, grade=grade, component="data", cause="index-contract", sentence=sentence, cure=cure,
            place=place, evidence=dict(evidence),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        class Windows(Quarters):
            def __len__(self) -> int:
                return len(self.labels) // 3

            def __getitem__(self, i: int) -> Any:
                return self.pictures[i], self.labels[i]

        class Wraps(Quarters):
            def __getitem__(self, i: int) -> Any:
                return super().__getitem__(i % len(self))

        sick, well = Windows(), Wraps()
        return tiny(dataset=sick, batches=lambda: batches(sick)), tiny(dataset=well, batches=lambda: batches(well))


def _counted(case: Case, dataset: Any) -> int:
    """Its length. Raises DoesNotApply where it has none."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise DoesNotApply("its items come as a stream, without indices")
    try:
        count = case.guarded("len(Program.dataset)", lambda: len(dataset))
    except Failed as failed:
        if isinstance(failed.error, TypeError | NotImplementedError | AttributeError):
            raise DoesNotApply("the data set has no length") from None
        raise
    if count == 0:
        raise DoesNotApply("the data set is empty")
    return count


def _read(case: Case, dataset: Any, asked: list[int]) -> tuple[dict[int, Any], dict[int, Failed]]:
    items, raised = dict[int, Any](), dict[int, Failed]()
    for index in asked:
        try:
            items[index] = read(case, dataset, index)
        except Failed as failed:
            raised[index] = failed
    return items, raised


def _asks_for_all(case: Case, missing: bool = False) -> bool:
    """Whether torch's plain samplers, which take len() at its word, deal the batches; `missing` where no loader is."""
    found = loader(case, "batches")
    if found is None or isinstance(found.dataset, IterableDataset):
        return missing
    return type(found.sampler) in (RandomSampler, SequentialSampler)


def _shared(case: Case) -> bool:
    """Whether validation reads from what training reads from, so that what lies behind the end may be its part."""
    held = loader(case, "validation")
    if held is None:
        return False

    def sets(root: Any) -> set[int]:
        plain = (list, tuple, dict)
        return {id(thing) for thing in inside(root) if hasattr(thing, "__getitem__") and not isinstance(thing, plain)}

    return bool(sets(case.program.dataset) & sets(held.dataset))
