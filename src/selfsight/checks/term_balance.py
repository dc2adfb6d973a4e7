"""L306: do all terms of the loss have a say?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import of_code
from selfsight.instruments.snapshot import still
from selfsight.planted import loss, tiny
from selfsight.program import Program

BATCHES = 6
"""Batches that are looked at."""
SMALL = 1e-3
"""Of the largest term's gradient: less than that in every batch is called dominated."""
MOST = 6
"""Terms that are taken apart."""
SUMS = ("AddBackward", "SubBackward")
SCALES = ("MulBackward", "DivBackward", "NegBackward")
"""Of one input with a gradient: the other is a constant. A product or quotient of two has no terms."""


@dataclass(frozen=True)
class TermBalance(Check):
    """A loss of several terms is learned as fast as its loudest.

    Detected: The graph of the loss is followed back through sums and constant factors to its terms, and each term's
    gradient is taken alone, over several batches. A NOTE where one is always 0, or where all others stay below a
    thousandth of the largest. Never an alarm: a hinge may rest at 0, and a regulariser be small on purpose.
    Matters: Summing one term over pixels and averaging another over examples differs by a factor of thousands.
    Cure: Average all terms over the same things, then weigh them.
    Blind: Terms that are stacked or concatenated before they are added, or of a sum that is multiplied or divided by
    something that learns; the balance later in training.
    """

    code = "L306"
    title = "Do all terms of the loss have a say?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        table = [norms for batch in case.batches[:BATCHES] if (norms := _norms(case, model, batch)) is not None]
        if not table or len({len(norms) for norms in table}) > 1:
            raise DoesNotApply("the loss is no sum of several terms with gradients")
        columns = list(zip(*table, strict=True))
        largest = [max(norms) for norms in table]
        evidence = {f"term {i}": [float(f"{norm:.4g}") for norm in column] for i, column in enumerate(columns)}
        for i, column in enumerate(columns):
            if not any(column) and any(largest):
                said = f"Term {i + 1} of {len(columns)} of the loss gives no gradient in {len(table)} batches."
                yield self._note(case, "inert", said, evidence)
        quiet = [all(norm < SMALL * most for norm, most in zip(column, largest, strict=True)) for column in columns]
        if sum(quiet) == len(columns) - 1 and all(any(column) for column in columns):
            loud = quiet.index(False) + 1
            said = f"Term {loud} of {len(columns)} of the loss has a gradient a thousand times that of all others."
            yield self._note(case, "term-balance", said, evidence)

    def _note(self, case: Case, cause: str, sentence: str, evidence: dict[str, list[float]]) -> Finding:
        return Finding(
            code=self.code, grade=Grade.NOTE, component="loss", cause=cause, sentence=sentence,
            cure="Average all terms over the same things, then weigh them.",
            place=of_code(case.program.criterion or case.program.loss, "loss"), evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def drowned(model: nn.Module, batch: Any) -> Tensor:
            return loss(model, batch) + 1e-6 * model(batch[0]).square().mean()

        def balanced(model: nn.Module, batch: Any) -> Tensor:
            return loss(model, batch) + 0.1 * model(batch[0]).square().mean()

        return tiny(loss=drowned), tiny(loss=balanced)


def _norms(case: Case, model: nn.Module, batch: Any) -> list[float] | None:
    """The length of each term's gradient; None where there are not at least two terms."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with still(model):
        value = case.loss(model, batch)
        edges = _terms(value.grad_fn) if value.grad_fn is not None and value.ndim == 0 else []
        if not 2 <= len(edges) <= MOST or not parameters:
            return None
        return [_alone(case, value, edges, i, parameters) for i in range(len(edges))]


def _terms(node: Any) -> list[tuple[Any, int]]:
    """(node, which of its inputs) of the edges at which scalar terms enter the sum that the loss is."""
    if _several(node) and not _sums(node):
        return []
    found: list[tuple[Any, int]] = []
    waiting = [node]
    while waiting:
        sum_ = waiting.pop(0)
        inputs = [(i, edge[0]) for i, edge in enumerate(sum_.next_functions) if edge[0] is not None]
        for i, inner in inputs:
            if _sums(inner) and _scalar(inner):
                waiting.append(inner)
            elif _scalar(inner):
                found.append((sum_, i))
            else:
                return []
    return found


def _sums(node: Any) -> bool:
    """Whether it adds what comes in, or changes the one thing that does by a constant."""
    return bool(node.name().startswith(SUMS if _several(node) else SUMS + SCALES))


def _several(node: Any) -> bool:
    return sum(edge[0] is not None for edge in node.next_functions) > 1


def _scalar(node: Any) -> bool:
    metadata: Any = getattr(node, "_input_metadata", None)
    return bool(metadata) and tuple(metadata[0].shape) == ()


def _alone(
    case: Case, value: Tensor, edges: list[tuple[Any, int]], which: int, parameters: list[nn.Parameter]
) -> float:
    """The length of the gradient that comes through one of the edges, the others held shut."""
    handles = []
    for number, (node, place) in enumerate(edges):
        if number != which:
            handles.append(node.register_hook(lambda inputs, _, place=place: _shut(inputs, place)))
    try:
        gradients = case.guarded(
            "backward",
            lambda: torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True),
            seed=None,
        )
    finally:
        for handle in handles:
            handle.remove()
    return math.sqrt(sum(float(g.detach().to_dense().double().square().sum()) for g in gradients if g is not None))


def _shut(inputs: tuple[Tensor | None, ...], place: int) -> tuple[Tensor | None, ...]:
    return tuple(torch.zeros_like(t) if i == place and t is not None else t for i, t in enumerate(inputs))
