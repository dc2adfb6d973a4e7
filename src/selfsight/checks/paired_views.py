"""D104: do the two views of a batch belong together, row by row?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code
from selfsight.instruments.snapshot import same
from selfsight.observations.items import read, spread
from selfsight.observations.pairing import both_matter, likeness, paired_p, rolled_p, same_kind, together_p
from selfsight.observations.pictures import entering, pictures
from selfsight.planted import batches, tiny
from selfsight.program import Program

UNSURE = 0.05
"""Above this p the given pairing is no better than a random one, as far as cheap features can tell."""
ROWS = 64
"""Examples of a batch that are compared."""
Pairs = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class PairedViews(Check):
    """Row i of one view must show what row i of the other shows, and not the very same pixels.

    Detected: PROVEN views-identical where both views are bit-equal in every batch and nothing in the program draws them
    apart later. Cheap features (thumbnails, colours, random filters) of the pairs are compared with re-paired rows, by
    2000 permutations. Where the given pairing is no better than chance (p > .05): MEASURED views-misaligned if rows fit
    when shifted, or if both halves of one batch match each other more than halves of different batches do; a note
    views-unrelated if, in the same features, two readings of the first view of an item do fit. Also PROVEN: one output
    depends on two parts of the batch which are always the same picture.
    Matters: With wrong partners a contrastive loss asks for the impossible; with identical ones for nothing. Found in
    MoCo-like code that forgot to un-shuffle, and in examples that fed the first view twice.
    Cure: Draw some pairs side by side; make both views in one place, from one index.
    Blind: Views too unlike for cheap features and too strong an augmentation: then nothing is said. Partners of another
    kind, another picture of the same class for example, cannot be told from wrong ones: hence only a note.
    """

    code = "D104"
    title = "Do the two views of a batch belong together, row by row?"

    def look(self, case: Case) -> Iterator[Finding]:
        if not case.has("views"):
            yield from self._doubled(case)
            return
        pairs = [_two(case, batch) for batch in case.batches]
        if all(same(one, two) for one, two in pairs):
            yield self._identical(case)
            return
        usable = [
            (one[:ROWS], two[:ROWS]) for one, two in pairs if one.shape == two.shape and len(one) >= 8 and one.ndim > 1
        ]
        usable = [pair for pair in usable if pair[0].shape == usable[0][0].shape]
        if not usable:
            raise DoesNotApply("the views are of different shapes, or too few")
        yield from self._compared(case, usable)

    def _identical(self, case: Case) -> Finding:
        model = case.model()
        fixed = case.value(model, case.batch, seed=0) == case.value(model, case.batch, seed=1)
        sentence = "Both views are equal bit by bit in every batch" + (
            ", and the loss draws nothing that could tell them apart."
            if fixed
            else "; only the model's own draws differ."
        )
        cure = "Draw the augmentation once for each view."
        return self._finding(case, Grade.PROVEN if fixed else Grade.NOTE, "views-identical", sentence, cure, {})

    def _compared(self, case: Case, pairs: Pairs) -> Iterator[Finding]:
        fits = torch.stack([likeness(one, two) for one, two in pairs])
        p = paired_p(fits)
        if p <= UNSURE:
            return
        pairs_seen = f"{len(pairs) * len(pairs[0][0])} pairs"
        shift, p_shift = rolled_p(fits)
        cure = "Make both views from one index; undo every shuffle before rows are compared."
        evidence: dict[str, float | int] = {"p_given": p}
        if p_shift < SURE:
            evidence |= {"shift": shift, "p_shifted": p_shift}
            wrong = (
                f"Row i of the first view fits row i + {shift} of the second (p = {p_shift:.1g}), and row i no better "
                f"than chance (p = {p:.2g}, {pairs_seen})."
            )
            yield self._finding(case, Grade.MEASURED, "views-misaligned", wrong, cure, evidence)
            return
        p_together = together_p(pairs)
        if p_together < SURE:
            wrong = (
                f"The partners are in the batch, but in other rows: halves of one batch match (p = {p_together:.1g}), "
                f"rows as given do not (p = {p:.2g}, {pairs_seen})."
            )
            evidence["p_together"] = p_together
            yield self._finding(case, Grade.MEASURED, "views-misaligned", wrong, cure, evidence)
            return
        control = _control(case)
        if control is None:
            return
        wrong = (
            f"The views of an example fit no better than those of different examples (p = {p:.2g}, {pairs_seen}), "
            f"though two readings of its first view do (p = {control:.1g})."
        )
        cure = "Look where the second view is taken from: it shows something else."
        yield self._finding(case, Grade.NOTE, "views-unrelated", wrong, cure, evidence | {"p_control": control})

    def _doubled(self, case: Case) -> Iterator[Finding]:
        """Two pictures of the batch that are always the same, and enter the model both."""
        given = entering(case, case.batches[0]).values()
        found = {
            path: leaf for path, leaf in leaves(case.batches[0]).items()
            if pictures(leaf) is not None and any(same(leaf, tensor) for tensor in given)
        }  # fmt: skip
        if len(found) < 2:
            raise DoesNotApply("the program gives no views, and no two pictures of a batch enter the model")
        held = [leaves(batch) for batch in case.batches]
        for one, two in itertools.combinations(found, 2):
            if not all(one in batch and two in batch and same(batch[one], batch[two]) for batch in held):
                continue
            both = both_matter(case, one, two)
            sentence = f"batch{one} and batch{two} are the same pictures in all {len(held)} batches" + (
                ", and one output of the model is made from both." if both else "."
            )
            cure = "Check what stands in which place of an item: one of the two is meant to show something else."
            cause = "wrong-input-slot" if both else "views-identical"
            yield self._finding(
                case, Grade.PROVEN if both else Grade.NOTE, cause, sentence, cure, {"batches": len(held)}
            )

    def _finding(
        self, case: Case, grade: Grade, cause: str, sentence: str, cure: str, evidence: dict[str, float | int]
    ) -> Finding:
        place = of_code(type(case.program.dataset), "dataset") if case.has("dataset") else of_code(case.program.batches)
        return Finding(
            code=self.code, grade=grade, component="data", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=dict(evidence),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def noisy(batch: Any) -> tuple[Tensor, Tensor]:
            return tuple(batch[0] + 0.1 * torch.randn(batch[0].shape) for _ in range(2))

        def rolled(batch: Any) -> tuple[Tensor, Tensor]:
            one, two = noisy(batch)
            return one, two.roll(1, 0)

        return tiny(views=rolled, batches=batches), tiny(views=noisy, batches=batches)


def _two(case: Case, batch: Any) -> tuple[Tensor, Tensor]:
    found = case.call("views", batch)
    if not isinstance(found, tuple | list) or len(found) != 2 or not all(isinstance(view, Tensor) for view in found):
        raise DoesNotApply("Program.views gives no two tensors")
    return found[0].detach(), found[1].detach()


def _control(case: Case) -> float | None:
    """The p of two readings of the first views of the data set's items, where that shows that features could tell.

    None where it does not, or where the first and the second view are of different kinds.
    """
    if not case.has("dataset"):
        return None
    dataset = case.program.dataset
    try:
        asked = spread(len(dataset), ROWS)  # type: ignore[arg-type]
        (one, two), (again, _) = (
            _two(case, default_collate([read(case, dataset, i, seed=2 * i + turn) for i in asked])) for turn in (0, 1)
        )
    except (Failed, TypeError, RuntimeError, DoesNotApply):
        return None
    if one.shape != again.shape or one.shape != two.shape or same(one, again) or not same_kind(one, two):
        return None
    unrelated = paired_p(likeness(one, two)[None]) > UNSURE
    p = paired_p(likeness(one, again)[None])
    return p if unrelated and p < SURE else None
