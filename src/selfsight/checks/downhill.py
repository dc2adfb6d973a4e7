"""L304: does the gradient belong to the loss?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.nest import leaves
from selfsight.instruments.place import of_code, of_module
from selfsight.instruments.snapshot import still
from selfsight.observations.motion import filled
from selfsight.observations.nudge import depends
from selfsight.planted import loss, tiny
from selfsight.program import Program

STEPS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""Of the length of the weights: how far the loss is followed to both sides."""
OFF = 0.1
"""A slope that differs by more than a tenth at every distance is worth a note."""


@dataclass(frozen=True)
class Downhill(Check):
    """backward() goes back along whatever graph there is; a loss made anew from numbers has none.

    Detected: PROVEN where the loss of a frozen batch changes with the weights, draws replayed, but leads no gradient to
    any of them. Otherwise the loss is followed a little way along its own gradient, to both sides, at five distances; a
    NOTE where its slope differs from the gradient's length at all of them.
    Matters: The optimizer gets nothing to go by, while the loss is printed as if it did.
    Cure: Keep tensors as tensors until backward: no .item(), float(), numpy() or torch.tensor(...) on the way.
    Blind: A gradient that is cut off from only a part of the loss: stop-gradients do that on purpose.
    """

    code = "L304"
    title = "Does the gradient belong to the loss?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
        if not trainable:
            raise DoesNotApply("the model has nothing to train")
        value, gradients = _gradients(case, model, [*trainable.values()])
        if not any(filled(gradient) for gradient in gradients):
            if value is not None and not _finds_its_way(case) and depends(case, model, trainable):
                sentence = (
                    f"The loss ({value:.4g}) changes with the weights, but no gradient leads from it to any of "
                    f"{len(trainable)} tensors."
                )
                cure = "Keep the loss a tensor with its graph: no .item(), numpy() or torch.tensor(...) on the way."
                found = self._finding(case, Grade.PROVEN, "gradient-cut", sentence, cure, {"loss": value})
                yield self._within(found, model) if _cut_inside(case, model) else found
            return
        ratio = _slope(case, model, [*trainable.values()], gradients)
        if ratio is not None and abs(ratio - 1) > OFF:
            sentence = f"Along its own gradient the loss changes {ratio:.2f} times as fast as the gradient says."
            cure = "Right where a stop-gradient, a straight-through or a reversed gradient is meant."
            cause = "sign-flipped" if ratio < 0 else "gradient-cut"
            yield self._finding(case, Grade.NOTE, cause, sentence, cure, {"ratio": ratio})

    def _finding(
        self, case: Case, grade: Grade, cause: str, sentence: str, cure: str, evidence: dict[str, float]
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="loss", cause=cause, sentence=sentence, cure=cure,
            place=of_code(case.program.criterion or case.program.loss, "loss"), evidence=evidence,
        )  # fmt: skip

    def _within(self, found: Finding, model: nn.Module) -> Finding:
        """The same, told of the model."""
        sentence = f"{found.sentence} What the model gives out leads none back either."
        cure = "Take out of forward what has no gradient: round, argmax, comparisons, numpy, .data, no_grad."
        return replace(found, component="model", sentence=sentence, cure=cure, place=of_module("", model))

    def planted(self) -> tuple[Program, Program]:
        def rebuilt(model: nn.Module, batch: Any) -> Tensor:
            return torch.tensor(loss(model, batch).item(), requires_grad=True)

        return tiny(loss=rebuilt), tiny()


def _gradients(case: Case, model: nn.Module, trainable: list[nn.Parameter]) -> tuple[float | None, list[Tensor | None]]:
    """(the loss of the frozen batch, None where it is no finite number; its gradients)."""
    with still(model):
        value = case.loss(model, case.batch)
        number = float(value.detach())
        if not value.requires_grad:
            return number if math.isfinite(number) else None, [None] * len(trainable)
        found = case.guarded("backward", lambda: torch.autograd.grad(value, trainable, allow_unused=True), seed=None)
    return number if math.isfinite(number) else None, list(found)


def _cut_inside(case: Case, model: nn.Module) -> bool:
    """Whether already the model's own output leads no gradient to its weights."""
    given: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if torch.is_grad_enabled():  # else whoever called the model cut it off
            given.extend(leaf for leaf in leaves(output).values() if leaf.is_floating_point())

    handle = model.register_forward_hook(keep)
    try:
        with still(model):
            case.loss(model, case.batch)
    finally:
        handle.remove()
    live = [leaf for leaf in given if leaf.requires_grad]
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not live:
        return bool(given)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(leaf.shape, generator=generator).to(leaf) for leaf in live]
    found = torch.autograd.grad(live, trainable, drawn, allow_unused=True)
    return not any(filled(gradient) for gradient in found)


def _finds_its_way(case: Case) -> bool:
    """Whether a step of the program's own brings gradients by another way than its loss."""
    if not case.has("step"):
        return False
    trial = case.begin()
    before = [p.detach().clone() for p in trial.model.parameters()]
    case.step(trial, case.batch)
    now = list(trial.model.parameters())
    return any(filled(p.grad) or not torch.equal(p.detach(), old) for p, old in zip(now, before, strict=True))


def _slope(case: Case, model: nn.Module, trainable: list[nn.Parameter], gradients: list[Tensor | None]) -> float | None:
    """The loss's slope along its gradient over the gradient's length, at the distance where it is nearest to 1."""
    pairs = [(p, g.detach().to_dense()) for p, g in zip(trainable, gradients, strict=True) if g is not None]
    length = math.sqrt(sum(float(g.double().square().sum()) for _, g in pairs))
    weights = math.sqrt(sum(float(p.detach().double().square().sum()) for p, _ in pairs))
    if not (math.isfinite(length) and length > 0 and weights > 0):
        return None
    found: list[float] = []
    for share in STEPS:
        ends = []
        for sign in (1, -1):
            with still(model), torch.no_grad():
                for parameter, gradient in pairs:
                    parameter.add_(gradient, alpha=sign * share * weights / length)
                ends.append(case.value(model, case.batch))
        rise = (ends[0] - ends[1]) / (2 * share * weights)
        if math.isfinite(rise):
            found.append(rise / length)
    return min(found, key=lambda ratio: abs(ratio - 1), default=None)
