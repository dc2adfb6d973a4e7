"""B804: do the labels have anything to do with the inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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
MOST, MANY = 64, 4096
"""More labels at once, or classes, than these are not painted."""
MEMORISED = 0.3
"""Progress on what was learned from, at which a training counts as more than not begun."""


@dataclass(frozen=True)
class UnrelatedLabels(Check):
    """Labels that were shuffled against their inputs, or drawn anew after the input was made, can only be memorised.

    Detected: For class labels, several labels a picture, answers of one number, and masks. The program's own training
    memorises what it sees, and at no time answers examples kept aside better than a constant; with the labels'
    numbers, the eighth in which the answer lies, or the mask painted into the inputs, the same training does (Wilcoxon,
    p < 1e-3). MEASURED by that swap.
    Matters: Training loss falls as in a healthy run; only what is kept aside tells.
    Cure: Follow one example by hand from its file to the loss: which label does it arrive with?
    Blind: Relations that take more examples than some hundred to show; answers of any other form.
    """

    code = "B804"
    title = "Do the labels have anything to do with the inputs?"
    quick = False

    def look(self, case: Case) -> Iterator[Finding]:
        labels, answers = _answers(case)
        try:
            own = streamed(case)
            if own.fitted < MEMORISED or _helps(own):
                return
            painted = [_painted(case, batch, shown) for batch, shown in zip(case.batches, answers, strict=True)]
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
            tried=("inputs that show their labels", gained, reached),
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def shuffled() -> Any:
            data = Quarters(192)
            data.labels = torch.randint(CLASSES, (192,), generator=torch.Generator().manual_seed(5))
            return batches(data)

        return tiny(batches=shuffled), tiny(batches=lambda: batches(Quarters(192)))


def _answers(case: Case) -> tuple[str, list[Tensor]]:
    """The leaf of the batch that holds the answers, and what is painted for each batch: (N, K) or a mask, in 0..1.

    Raises DoesNotApply where it holds no class labels, no several labels, no one number for each example and no mask.
    """
    inside = entering(case, case.batch)
    held = leaves(case.batches[0])
    outer = {path: leaf for path, leaf in held.items() if path not in inside and leaf.ndim}
    shapes = {leaf.shape[-2:] for path, leaf in held.items() if path in inside and leaf.ndim == 4}
    for told in (_classes, _several, _number, _mask):
        for path, leaf in outer.items():
            if told is _mask and leaf.shape[-2:] not in shapes:
                continue
            shown = told([leaves(batch)[path] for batch in case.batches])
            if shown:
                return path, shown
    raise DoesNotApply("the batch holds no class labels, no answers of one number each, and no masks")


def _classes(told: list[Tensor]) -> list[Tensor]:
    """Class numbers as one row of zeros and a one; nothing where they are none."""
    first = told[0]
    whole = not first.is_floating_point() and first.ndim == 1
    if not whole or not 2 <= len(first.unique()) <= max(2, len(first) // 2):
        return []
    return _rows(told) if all(0 <= int(values.min()) <= int(values.max()) < MANY for values in told) else []


def _several(told: list[Tensor]) -> list[Tensor]:
    """Rows of zeros and ones with more or fewer ones from row to row."""
    first = told[0].float()
    if first.ndim != 2 or not 2 <= first.shape[1] <= MOST or not bool(((first == 0) | (first == 1)).all()):
        return []
    return [values.float() for values in told]


def _number(told: list[Tensor]) -> list[Tensor]:
    """One number for each example, as the eighth of all numbers in which it lies."""
    first = told[0]
    if not first.is_floating_point() or first.numel() != len(first) or len(first.unique()) <= EIGHTHS:
        return []
    numbers = [values.flatten().float() for values in told]
    edges = torch.cat(numbers).quantile(torch.linspace(0, 1, EIGHTHS + 1)[1:-1].to(numbers[0]))
    return _rows([torch.bucketize(values, edges) for values in numbers])


def _mask(told: list[Tensor]) -> list[Tensor]:
    """(N, H, W) or (N, 1, H, W) of two values: 0 where it is the lower one, 1 elsewhere."""
    first = told[0]
    flat = first.ndim == 3 or (first.ndim == 4 and first.shape[1] == 1)
    if not flat or len(first.unique()) != 2:
        return []
    return [(values > first.min()).float().reshape(len(values), 1, *values.shape[-2:]) for values in told]


def _rows(numbers: list[Tensor]) -> list[Tensor]:
    kinds = 1 + max(int(values.max()) for values in numbers)
    return [one_hot(values.long(), kinds).float() for values in numbers]


def _helps(seen: Stream) -> bool:
    """Whether at any look the examples aside were answered better than by a constant, at the usual 5 % over all."""
    return any(less_p(losses, seen.constant_aside) < 0.05 / len(seen.aside) for losses in seen.aside)


def _painted(case: Case, batch: Any, shown: Tensor) -> Any:
    """The batch with its inputs replaced by faint noise, brighter where the answer is shown."""
    held = leaves(batch)
    inside = [path for path in entering(case, batch) if held[path].is_floating_point()]
    if shown.ndim == 4:
        inside = [path for path in inside if held[path].ndim == 4 and held[path].shape[-2:] == shown.shape[-2:]]
    if not inside:
        raise DoesNotApply("no floating-point tensor of the batch enters the model as it is")
    drawn = torch.Generator().manual_seed(7)
    return rebuilt(batch, {path: _shown(held[path], shown, drawn) for path in inside})


def _shown(like: Tensor, shown: Tensor, drawn: torch.Generator) -> Tensor:
    """Noise, brighter by twice the spread of the inputs: on a mask, or in bands along the last dimension."""
    spread = like.std().clamp_min(1e-6)
    painted = like.mean() + 0.3 * spread * torch.randn(like.shape, generator=drawn).to(like)
    if shown.ndim == 4:
        return painted + 2 * spread * shown.to(like)
    kinds, width = shown.shape[1], like.shape[-1]
    for row, bands in zip(painted, shown.to(like), strict=True):
        for kind in bands.nonzero().flatten().tolist():
            start, end = kind * width // kinds, max(kind * width // kinds + 1, (kind + 1) * width // kinds)
            row[..., start:end] += 2 * spread * bands[kind]
    return painted
