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
MEMORISED = 0.3
"""Progress on what was learned from, at which a training counts as more than not begun."""


@dataclass(frozen=True)
class UnrelatedLabels(Check):
    """Labels that were shuffled against their inputs, or drawn anew after the input was made, can only be memorised.

    Detected: For class labels. The program's own training memorises what it sees, and at no time answers examples kept
    aside better than a constant; with the label's number painted into the inputs, the same training does (Wilcoxon,
    p < 1e-3). MEASURED by that swap.
    Matters: Training loss falls as in a healthy run; only what is kept aside tells.
    Cure: Follow one example by hand from its file to the loss: which label does it arrive with?
    Blind: Relations that take more examples than some hundred to show; targets that are no classes.
    """

    code = "B804"
    title = "Do the labels have anything to do with the inputs?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        labels = _labels(case)
        try:
            own = streamed(case)
            if own.fitted < MEMORISED or _helps(own):
                return
            painted = [_painted(case, batch, labels) for batch in case.batches]
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


def _labels(case: Case) -> str:
    """The leaf of the batch that holds class labels. Raises DoesNotApply where there is none."""
    inside = entering(case, case.batch)
    for path, leaf in leaves(case.batches[0]).items():
        whole = not leaf.is_floating_point() and leaf.ndim == 1 and path not in inside
        if whole and 2 <= len(leaf.unique()) <= max(2, len(leaf) // 2):
            return path
    raise DoesNotApply("the batch holds no class labels")


def _helps(seen: Stream) -> bool:
    """Whether at any look the examples aside were answered better than by a constant, at the usual 5 % over all."""
    return any(less_p(losses, seen.constant_aside) < 0.05 / len(seen.aside) for losses in seen.aside)


def _painted(case: Case, batch: Any, labels: str) -> Any:
    """The batch with its inputs replaced by faint noise and one bright band whose place is the label."""
    held = leaves(batch)
    inside = [path for path in entering(case, batch) if held[path].is_floating_point()]
    if not inside:
        raise DoesNotApply("no floating-point tensor of the batch enters the model as it is")
    drawn = torch.Generator().manual_seed(7)
    return rebuilt(batch, {path: _band(held[path], held[labels], drawn) for path in inside})


def _band(like: Tensor, labels: Tensor, drawn: torch.Generator) -> Tensor:
    """Noise with a band along the last dimension, as bright as twice the spread of the inputs."""
    spread = like.std().clamp_min(1e-6)
    painted = like.mean() + 0.3 * spread * torch.randn(like.shape, generator=drawn).to(like)
    kinds, width = int(labels.max()) + 1, like.shape[-1]
    for row, label in zip(painted, labels.tolist(), strict=True):
        start, end = label * width // kinds, max(label * width // kinds + 1, (label + 1) * width // kinds)
        row[..., start:end] += 2 * spread
    return painted
