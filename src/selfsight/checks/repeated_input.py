"""Y108: is it asked for what it has just been given?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.functions import CRITERIA, argument, noting
from selfsight.instruments.place import of_code
from selfsight.instruments.snapshot import still
from selfsight.observations.pictures import entering
from selfsight.planted import tiny
from selfsight.program import Program

LONG = 4
"""Places of a sequence, at least."""


@dataclass(frozen=True)
class RepeatedInput(Check):
    """A network that may not look ahead learns from the next word; without a shift it is asked for the word it reads.

    Detected: PROVEN where the targets that one of torch's criteria gets are, number by number, the sequences of whole
    numbers that the model was given, in every batch, and the model is causal: what it says at a place does not change,
    bit by bit, with what stands behind that place, and does with what stands there. Also where the targets are the
    sequences shifted by one, and what the model says at a place does change with what stands right behind it.
    Matters: Copying is learned at once and to perfection, and teaches nothing.
    Cure: Give x[:, :-1] and ask for x[:, 1:].
    Blind: Criteria written by hand, models that take more than the sequence, sequences of vectors, and networks that
    see the whole: there it may be meant.
    """

    code = "Y108"
    title = "Is it asked for what it has just been given?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        given, kinds = None, {_same, _following}
        for batch in case.batches:
            with still(model), noting(CRITERIA) as used:
                case.loss(model, batch)
            targets = [target for call in used if isinstance(target := argument(call, 1, "target"), Tensor)]
            given = _sequence(case, batch)
            if given is None:
                raise DoesNotApply("no sequences of whole numbers enter its model")
            kinds = {kind for kind in kinds if any(kind(target, given) for target in targets)}
        if given is None or not kinds:
            return
        here, before = _moved(model, given)
        if _same in kinds and here and not before:
            yield self._unshifted(case, given)
        elif _following in kinds and before:
            yield self._ahead(case, given)

    def _ahead(self, case: Case, given: Tensor) -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="model", cause="sees-the-answer",
            place=of_code(type(case.model()).forward, "forward"),
            sentence=f"At each of {given.shape[1]} places the model is asked for the number that follows, which it is "
            "given, too: what it says at a place changes with what stands right behind it.",
            cure="Mask attention to what follows: True, or -inf, above the diagonal; or read in one direction only.",
            evidence={"places": given.shape[1], "batches": len(case.batches)},
        )  # fmt: skip

    def _unshifted(self, case: Case, given: Tensor) -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="labels", cause="targets-unshifted",
            place=of_code(case.program.criterion or case.program.loss, "loss"),
            sentence=f"At each of {given.shape[1]} places the model, which cannot look ahead, is asked for the very "
            f"number it is given there, in all {len(case.batches)} batches.",
            cure="Give x[:, :-1] and ask for x[:, 1:].",
            evidence={"places": given.shape[1], "batches": len(case.batches)},
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def batches() -> Any:
            drawn = torch.Generator().manual_seed(0)
            return DataLoader(torch.randint(5, (64, 9), generator=drawn), batch_size=16)  # type: ignore[arg-type]

        def same(net: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(net(batch[:, :-1]).transpose(1, 2), batch[:, :-1])

        def following(net: nn.Module, batch: Any) -> Tensor:
            return cross_entropy(net(batch[:, :-1]).transpose(1, 2), batch[:, 1:])

        return tiny(model=_Reader, batches=batches, loss=same), tiny(model=_Reader, batches=batches, loss=following)


class _Reader(nn.Module):
    """Reads on and on, and says five logits at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read, self.say = nn.Embedding(5, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, given: Tensor) -> Tensor:
        return self.say(self.read(self.embed(given))[0])


def _sequence(case: Case, batch: Any) -> Tensor | None:
    """(N, T) whole numbers, the only such tensor that enters the model; None where there is none, or several."""
    found = [
        t for t in entering(case, batch).values() if t.ndim == 2 and not t.is_floating_point() and t.shape[1] >= LONG
    ]
    return found[0] if len(found) == 1 else None


def _same(target: Tensor, given: Tensor) -> bool:
    return target.numel() == given.numel() and bool(torch.equal(target.reshape(-1), given.reshape(-1)))


def _following(target: Tensor, given: Tensor) -> bool:
    """Whether the target at each place is what is given at the next."""
    if target.numel() != given.numel():
        return False
    return bool(torch.equal(target.reshape(given.shape)[:, :-1], given[:, 1:]))


def _moved(model: nn.Module, given: Tensor) -> tuple[bool, bool]:
    """Whether what is said at a place changes with what stands there; and what is said right before it, too."""
    middle = given.shape[1] // 2
    changed = given.clone()
    changed[:, middle] = given[:, middle].roll(1)
    modes = [(module, module.training) for module in model.modules()]
    with still(model), torch.no_grad():
        model.eval()
        try:
            before, after = model(given), model(changed)
        except (TypeError, RuntimeError, IndexError):  # it takes more than the sequence
            return False, False
        finally:
            for module, training in modes:
                module.training = training
    if not isinstance(before, Tensor) or before.shape[:2] != given.shape:
        return False, False
    moved = (before != after).flatten(2).any(2)[(changed != given).any(1)]
    return bool(moved[:, middle].any()), bool(moved[:, :middle].any())
