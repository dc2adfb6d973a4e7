"""B804: do the labels have anything to do with the inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.evidence import SURE, less_p
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.place import of_code
from selfsight.instruments.reach import Unreachable
from selfsight.planted import CLASSES, Quarters, batches, tiny
from selfsight.program import Program
from selfsight.streaming import Stream, TooFew, stream, streamed
from selfsight.swap import entering

LEARNED = 0.5
"""Progress aside that the planted control has to reach, to show that the training would have found a relation."""
EIGHTHS = 8
"""Into so many equal parts answers of one number are divided."""
MEMORISED = 0.3
"""Progress on what was learned from, at which a training counts as more than not begun."""


@dataclass(frozen=True)
class UnrelatedLabels(Check):
    """Labels that were shuffled against their inputs, or drawn anew after the input was made, can only be memorised.

    Detected: For class labels, and for answers of one number. The program's own training memorises what it sees, and at
    no time answers examples kept aside better than a constant; with the label's number, or the eighth in which the
    answer lies, painted into the inputs, the same training does (Wilcoxon, p < 1e-3). MEASURED by that swap.
    Matters: Training loss falls as in a healthy run; only what is kept aside tells.
    Cure: Follow one example by hand from its file to the loss: which label does it arrive with?
    Blind: Relations that take more examples than some hundred to show; answers of many numbers.
    """

    code = "B804"
    title = "Do the labels have anything to do with the inputs?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        labels, marks = _answers(case)
        try:
            own = streamed(case)
            if own.fitted < MEMORISED or _helps(own):
                return
            painted = [_painted(case, batch, mark) for batch, mark in zip(case.batches, marks, strict=True)]
            control = stream(case, painted)
        except (TooFew, Unreachable) as why:
            raise DoesNotApply(str(why)) from why
        reached = control.gained(control.best)
        if reached < LEARNED or less_p(control.aside[control.best], control.constant_aside) >= SURE:
            return
        gained = own.gained(own.best)
        yield Finding(
            code=self.code, grade=Grade.MEASURED, component="labels", cause="labels-unrelated",
            sentence=f"It memorises its labels (progress {own.fitted:.2f}) but on examples kept aside is never better "
            f"than a constant ({gained:.2f}); with the label painted into the input, the same training reaches "
            f"{reached:.2f} there.",
            cure="Follow one example from its file to the loss: input and label were parted on the way.",
            place=of_code(case.program.batches, f"batch{labels}"),
            evidence={"memorised": own.fitted, "aside": gained, "aside with painted labels": reached},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def shuffled() -> Any:
            data = Quarters(192)
            data.labels = torch.randint(CLASSES, (192,), generator=torch.Generator().manual_seed(5))
            return batches(data)

        return tiny(batches=shuffled), tiny(batches=lambda: batches(Quarters(192)))


def _answers(case: Case) -> tuple[str, list[Tensor]]:
    """The leaf of the batch that holds the answers, and each batch's answers as whole numbers from 0.

    Raises DoesNotApply where it holds neither class labels nor one number for each example.
    """
    inside = entering(case, case.batch)
    outer = {path: leaf for path, leaf in leaves(case.batches[0]).items() if path not in inside and leaf.ndim}
    for path, leaf in outer.items():
        whole = not leaf.is_floating_point() and leaf.ndim == 1
        if whole and 2 <= len(leaf.unique()) <= max(2, len(leaf) // 2):
            return path, [leaves(batch)[path] for batch in case.batches]
    for path, leaf in outer.items():
        if leaf.is_floating_point() and leaf.numel() == len(leaf) and len(leaf.unique()) > EIGHTHS:
            numbers = [leaves(batch)[path].flatten().float() for batch in case.batches]
            edges = torch.cat(numbers).quantile(torch.linspace(0, 1, EIGHTHS + 1)[1:-1].to(numbers[0]))
            return path, [torch.bucketize(values, edges) for values in numbers]
    raise DoesNotApply("the batch holds no class labels, and no answers of one number each")


def _helps(seen: Stream) -> bool:
    """Whether at any look the examples aside were answered better than by a constant, at the usual 5 % over all."""
    return any(less_p(losses, seen.constant_aside) < 0.05 / len(seen.aside) for losses in seen.aside)


def _painted(case: Case, batch: Any, marks: Tensor) -> Any:
    """The batch with its inputs replaced by faint noise and one bright band whose place is the mark."""
    held = leaves(batch)
    inside = [path for path in entering(case, batch) if held[path].is_floating_point()]
    if not inside:
        raise DoesNotApply("no floating-point tensor of the batch enters the model as it is")
    drawn = torch.Generator().manual_seed(7)
    return rebuilt(batch, {path: _band(held[path], marks, drawn) for path in inside})


def _band(like: Tensor, labels: Tensor, drawn: torch.Generator) -> Tensor:
    """Noise with a band along the last dimension, as bright as twice the spread of the inputs."""
    spread = like.std().clamp_min(1e-6)
    painted = like.mean() + 0.3 * spread * torch.randn(like.shape, generator=drawn).to(like)
    kinds, width = int(labels.max()) + 1, like.shape[-1]
    for row, label in zip(painted, labels.tolist(), strict=True):
        start, end = label * width // kinds, max(label * width // kinds + 1, (label + 1) * width // kinds)
        row[..., start:end] += 2 * spread
    return painted
