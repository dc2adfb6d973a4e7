"""M203: do shapes mean what they should, for a batch of one, too?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.calls import listening, weighted
from selfsight.instruments.examples import along
from selfsight.instruments.place import Place, of_module
from selfsight.instruments.snapshot import still
from selfsight.observations.alone import Alone, alone, meets_one
from selfsight.observations.pools import starved
from selfsight.planted import CLASSES, Quarters, batches, loss, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class ShapeHonesty(Check):
    """A shape that is right by luck is wrong one day.

    Detected: The model runs on one, two and three examples: PROVEN where one makes it raise, or makes its output
    lose or gain an axis that more examples have. Pools are followed: PROVEN where everything that a layer gets is one
    number per example, made by pooling features that were pooled already, or by a pool that took the examples
    for channels. Also PROVEN: a called layer without weights because a size is 0, and an embedding without features.
    Matters: The last batch of an epoch may hold one example; a pool too many throws all features but their mean away.
    Cure: squeeze(-1) or flatten(1), never squeeze() alone; pool once, over the axes of the picture.
    Blind: Batches that cannot be cut, models that only take pairs, wrong axes of equal size. A batch of one is only a
    NOTE where the loaders never yield one, or where one number per example merely becomes a bare number.
    """

    code = "M203"
    title = "Do shapes mean what they should, for a batch of one, too?"

    def look(self, case: Case) -> Iterator[Finding]:
        yield from self._pools(case)
        yield from self._empty(case)
        if (along(case.batches[0], 0) or 0) < 3:
            raise DoesNotApply("a batch cannot be cut into one, two and three examples")
        found = alone(case, lambda model, batch: case.loss(model, batch))
        if found is None and case.has("embed"):
            found = alone(case, lambda model, batch: case.call("embed", model, batch))
            yield from self._embedding(case)
        if found is not None:
            yield self._alone(found, meets_one(case))

    def _alone(self, found: Alone, met: bool) -> Finding:
        """A batch of one against batches of two and of three."""
        call, place = found.call, of_module(found.call.name, found.call.module)
        then = f"{found.error}" if found.error is not None else ""
        if found.one is None:
            told = f"A batch of one example makes {place.name} raise: {then}."
        else:
            told = f"{place.name} puts out {found.two} for two examples and {found.one} for one: the batch axis is gone"
            told += f"; then {then}." if then else "."
        if found.one is None and found.error is not None and found.error.place.file:
            place = Place(place.name, found.error.place.file, found.error.place.line)
        cure = "Name the axis: squeeze(-1) or flatten(1) instead of squeeze()."
        evidence = {"two": str(found.two), "one": str(found.one), "depth": call.depth}
        grade = Grade.PROVEN if met and not found.harmless else Grade.NOTE
        return self._finding("batch-of-one", told, cure, place, evidence, grade)

    def _pools(self, case: Case) -> Iterator[Finding]:
        """A layer that gets nothing but one number per example, left over from a pool too many."""
        found = starved(case)
        if found is not None:
            numbers = f"{found.columns} number{'s' * (found.columns > 1)}"
            told = (
                f"All that {found.name} learns of an example is {numbers}: {found.pool.name} pools {found.given}, "
                f"which holds features and no picture any more."
            )
            cure = "Pool once, and build the head for the number of features that the pool leaves."
            place = Place(found.name, found.pool.place.file, found.pool.place.line)
            yield self._finding("built-wrong", told, cure, place, {"pooled": str(found.given), "left": found.columns})

    def _empty(self, case: Case) -> Iterator[Finding]:
        """Layers that hold no weight at all, and are called."""
        model = case.model()
        hollow = {
            name: module.weight
            for name, module in weighted(model).items()
            if isinstance(module, nn.Linear | _ConvNd)
            and not isinstance(module.weight, nn.parameter.UninitializedParameter)
            and module.weight.numel() == 0
        }
        if not hollow:
            return
        with still(model), torch.no_grad(), listening(model) as calls:
            case.loss(model, case.batch)
        for call in {call.name: call for call in calls if call.name in hollow}.values():
            shape = str(tuple(hollow[call.name].shape))
            told = f"{call.name} is called and has no weights: its weight is {shape}, so it lets nothing through."
            cure = "Compute its size from the features that really reach it."
            yield self._finding("built-wrong", told, cure, of_module(call.name, call.module), {"weight": shape})

    def _embedding(self, case: Case) -> Iterator[Finding]:
        model = case.model().eval()
        with still(model), torch.no_grad():
            z = case.call("embed", model, case.batch)
        if isinstance(z, Tensor) and z.ndim != 2:
            shape = str(tuple(z.shape))
            yield self._finding(
                "built-wrong", f"Program.embed gives {shape}, not (examples, features).",
                "Give one row of features per example.", Place("embed"), {"shape": shape},
                Grade.PROVEN if z.ndim < 2 else Grade.NOTE,
            )  # fmt: skip

    def _finding(
        self, cause: str, told: str, cure: str, place: Place, evidence: dict[str, Any], grade: Grade = Grade.PROVEN
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="model", cause=cause, sentence=told, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        some = {"batches": lambda: batches(Quarters(49)), "loss": loss}  # the last batch holds one
        return tiny(model=_Squeezed, **some), tiny(model=_Flattened, **some)


class _Squeezed(nn.Module):
    """Its features lose every axis of size 1."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).squeeze())


class _Flattened(_Squeezed):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).flatten(1))
