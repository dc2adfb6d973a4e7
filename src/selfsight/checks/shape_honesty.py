"""M203: do shapes mean what they should, for a batch of one, too?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.calls import Call, listening, weighted
from selfsight.instruments.dependence import without_batch_norm
from selfsight.instruments.examples import along, part
from selfsight.instruments.functions import Used, noting
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import Place, of_module
from selfsight.instruments.snapshot import still
from selfsight.planted import CLASSES, loss, tiny
from selfsight.program import Program

ADAPTIVE = {f"{name}_pool{d}d": d for d in (1, 2, 3) for name in ("adaptive_avg", "adaptive_max")}
"""Torch's adaptive pools, and how many axes each pools. One more axis than that is read as a single example."""
POOLS = {*ADAPTIVE, "mean", "amax", "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices"}
ABOUT_SHAPE = re.compile(r"\b(dim|dims|dimension|dimensions|shape|shapes|size|sizes|out of range)\b", re.IGNORECASE)
OF_BATCH_NORM = "value per channel"


@dataclass(frozen=True)
class ShapeHonesty(Check):
    """A shape that is right by luck is wrong one day.

    Detected: The model runs on one, two and three examples: PROVEN where one example makes it raise, or makes its output lose or
    gain an axis that more examples have. Pools are followed: PROVEN where everything that a layer with weights gets is one number per
    example, made by pooling features that were pooled already or by a pool that took the examples for channels. Also PROVEN: a called
    layer with no weights at all in it because a size is 0, and an embedding without a feature axis.
    Matters: The last batch of an epoch often holds one example; a pool too many throws all features but their mean away.
    Cure: squeeze(-1) or flatten(1), never squeeze() alone; pool once, over the axes of the picture.
    Blind: Batches that cannot be cut, models that only take pairs, wrong axes of equal size. An output of one number per example that
    becomes a bare number for one example is only a NOTE, as it mostly does no harm.
    """

    code = "M203"
    title = "Do shapes mean what they should, for a batch of one, too?"

    def look(self, case: Case) -> Iterator[Finding]:
        yield from self._pools(case)
        yield from self._empty(case)
        if (along(case.batches[0], 0) or 0) < 3:
            raise DoesNotApply("a batch cannot be cut into one, two and three examples")
        found = self._alone(case, lambda model, batch: case.loss(model, batch))
        if found is None and case.has("embed"):
            found = self._alone(case, lambda model, batch: case.call("embed", model, batch)) or self._embedding(case)
        if found is not None:
            yield found

    def _alone(self, case: Case, run: Callable[[nn.Module, Any], Any]) -> Finding | None:
        """A batch of one against batches of two and of three."""
        runs = {count: _shapes(case, run, part(case.batches[0], count)) for count in (3, 2, 1)}
        if runs[3][1] is not None or runs[2][1] is not None:
            return None  # it takes only batches of some size
        (one, error), (two, _), (three, _) = runs[1], runs[2], runs[3]
        if [call.name for call in two] != [call.name for call in three]:
            return None
        fates = [_fate(*calls) for calls in zip(one, two, three, strict=False) if len({c.name for c in calls}) == 1]
        wrong = [i for i, fate in enumerate(fates) if fate == "wrong" and not _repaired(one, fates, i)]
        raised = error is not None and _about_shape(error) and any(call.output is None for call in one)
        first = min(wrong, key=lambda i: (-one[i].depth, i)) if wrong else None
        if first is not None:
            shown = (tuple(_first_shape(calls[first])) for calls in (two, one))
            bare = not tuple(_first_shape(one[first])) and not (error is not None and _about_shape(error))
            return self._lost(one[first], *shown, error, Grade.NOTE if bare else Grade.PROVEN)
        if raised and error is not None:
            where = next((call for call in reversed(one) if call.output is None), one[-1])
            return self._finding(
                "batch-of-one", f"A batch of one example makes {where.name or 'the model'} raise: {error}.",
                "Let no squeeze or index take the batch axis away: squeeze(-1), flatten(1).",
                error.place if error.place.file else of_module(where.name, where.module), {"two_run": 1, "one_runs": 0},
            )  # fmt: skip
        return None

    def _lost(self, call: Call, two: Any, one: Any, error: Failed | None, grade: Grade) -> Finding:
        name = call.name or "the model"
        ends = f"; then {error}" if error is not None else ""
        return self._finding(
            "batch-of-one", f"{name} puts out {two} for two examples but {one} for one: its batch axis is gone{ends}.",
            "Name the axis: squeeze(-1) or flatten(1) instead of squeeze().", of_module(call.name, call.module),
            {"two": str(two), "one": str(one)}, grade,
        )  # fmt: skip

    def _pools(self, case: Case) -> Iterator[Finding]:
        """Layers that get nothing but one number per example, left over from a pool too many."""
        model = case.model()
        with still(model), torch.no_grad(), noting(POOLS) as used, listening(model, keep=True) as calls:
            case.loss(model, case.batch)
        left = dict[int, tuple[Tensor, Used]]()
        for number, call in enumerate(used):
            if _leaves_one(call, used[:number]):
                left[number] = (call.output.detach().flatten(), call)
        for call in calls if left else ():
            fed = [tensor for tensor in leaves(call.inputs).values() if tensor.is_floating_point()]
            weightless = not any(True for _ in call.module.parameters())
            if weightless or len(fed) != 1 or fed[0].ndim < 2 or len(fed[0]) < 2:
                continue
            columns = fed[0].flatten(1).unbind(1)
            from_pools = [next((p for p in left.values() if _equal(p[0], column)), None) for column in columns]
            if all(found is not None for found in from_pools) and from_pools[0] is not None:
                pool = from_pools[0][1]
                given = tuple(pool.inputs[0].shape)
                yield self._finding(
                    "built-wrong",
                    f"All that {call.name} learns of an example is {len(columns)} number{'s' * (len(columns) > 1)}: {pool.name} "
                    f"pools {given}, which holds features and no picture any more.",
                    "Pool once, and build the head for the number of features that the pool leaves.",
                    Place(call.name, pool.place.file, pool.place.line), {"pooled": str(given), "left": len(columns)},
                )  # fmt: skip
                return

    def _empty(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        hollow = {
            name: module
            for name, module in weighted(model).items()
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
            and not isinstance(module.weight, nn.parameter.UninitializedParameter)
            and module.weight.numel() == 0
        }
        if not hollow:
            return
        with still(model), torch.no_grad(), listening(model) as calls:
            case.loss(model, case.batch)
        for name in dict.fromkeys(call.name for call in calls if call.name in hollow):
            shape = tuple(hollow[name].weight.shape)  # type: ignore[union-attr, arg-type]
            yield self._finding(
                "built-wrong", f"{name} is called and has no weights: its weight is {shape}, so it lets nothing through.",
                "Compute its size from the features that really reach it.", of_module(name, hollow[name]), {"weight": str(shape)},
            )  # fmt: skip

    def _embedding(self, case: Case) -> Finding | None:
        model = case.model().eval()
        with still(model), torch.no_grad():
            z = case.call("embed", model, case.batch)
        if not isinstance(z, Tensor) or z.ndim == 2:
            return None
        return self._finding(
            "built-wrong", f"Program.embed gives {tuple(z.shape)}, not (examples, features).",
            "Give one row of features per example.", Place("embed"), {"shape": str(tuple(z.shape))},
            Grade.PROVEN if z.ndim < 2 else Grade.NOTE,
        )  # fmt: skip

    def _finding(
        self, cause: str, sentence: str, cure: str, place: Place, evidence: dict[str, Any], grade: Grade = Grade.PROVEN
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="model", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_Squeezed, loss=loss), tiny(model=_Flattened, loss=loss)


def _shapes(case: Case, run: Callable[[nn.Module, Any], Any], batch: Any) -> tuple[list[Call], Failed | None]:
    """Every call of a module, and what was raised, if anything."""
    model = case.model().eval()
    with still(model), without_batch_norm(), listening(model) as calls, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the small batches are not the program's own
        try:
            run(model, batch)
        except Failed as error:
            return calls, error
    return calls, None


def _first_shape(call: Call) -> torch.Size:
    return next(iter(leaves(call.output).values())).shape


def _expected(one: Any, two: Any, three: Any) -> bool | None:
    """Whether the shapes of a nest for one example follow from those for two and three; None where that cannot be told."""
    said = None
    for path, tensor in leaves(two).items():
        more, alone = leaves(three).get(path), leaves(one).get(path)
        if more is None or alone is None or more.ndim != tensor.ndim:
            return None
        axes = [axis for axis in range(tensor.ndim) if tensor.shape[axis] != more.shape[axis]]
        if len(axes) != 1 or 2 * more.shape[axes[0]] != 3 * tensor.shape[axes[0]]:
            continue
        wanted = list(tensor.shape)
        wanted[axes[0]] //= 2
        if list(alone.shape) != wanted:
            return False
        said = True
    return said


def _fate(one: Call, two: Call, three: Call) -> str:
    """What a batch of one does to a call: right, wrong (its own doing), or none of these."""
    if one.output is None:
        return ""
    said = _expected(one.output, two.output, three.output)
    given = _expected(one.inputs, two.inputs, three.inputs)
    return "right" if said else "wrong" if said is False and given is not False else ""


def _repaired(calls: list[Call], fates: list[str], number: int) -> bool:
    """Whether a call around this one puts out what it should."""
    depth = calls[number].depth
    for i in range(number - 1, -1, -1):
        if calls[i].depth < depth:
            depth = calls[i].depth
            if fates[i] == "right":
                return True
    return False


def _about_shape(error: Failed) -> bool:
    said = str(error.error)
    return bool(ABOUT_SHAPE.search(said)) and OF_BATCH_NORM not in said


def _leaves_one(call: Used, before: list[Used]) -> bool:
    """Whether a pool leaves one number per example of features that are no picture."""
    given, output = call.inputs[0] if call.inputs else call.named.get("input"), call.output
    if not isinstance(given, Tensor) or not isinstance(output, Tensor) or not given.ndim or not output.ndim:
        return False
    if output.numel() != len(given) or given.numel() == len(given) or len(given) < 2 or len(output) != len(given):
        return False
    if given.ndim == ADAPTIVE.get(call.name, 0) + 1:  # torch reads the batch axis as channels
        return True
    flat = given.detach().flatten()
    return any(isinstance(old.output, Tensor) and _equal(old.output.detach().flatten(), flat) for old in before)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


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
