"""M202: does the output depend on the input, and on nothing else?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code, of_module
from selfsight.instruments.snapshot import still
from selfsight.observations.bypass import led_around
from selfsight.observations.hearing import Hearing, followed, heard_elsewhere, hearing, scrambled
from selfsight.planted import CLASSES, Quarters, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class IgnoredInput(Check):
    """A net that does not look at its input learns the best constant, whatever else is right.

    Detected: What the model's outermost modules get is replaced by what they get in another batch, with weights drawn
    at random so that no zero of the initialisation hides a path. PROVEN where all of it changes no bit of the output,
    or where one picture or sequence has no effect though another of the same shape and type has. If the output
    follows an outer variable that forward reads instead, the variable and its line are named. PROVEN, too, where the
    prediction is the target itself when every layer answers 0: then the code need hold nothing.
    Matters: A variable of the notebook that bears an argument's name is used without a word; nothing can be learned.
    Cure: Use the names that forward declares; restart the notebook; let no skip lead around the code.
    Blind: Paths around the code that pass through weights; tensors held in objects other than tuples, lists, dicts and
    dataclasses; programs that call no module. Source: the journals of an unmixing net, whose forward(self, *x)
    looped over the notebook's xb.
    """

    code = "M202"
    title = "Does the output depend on the input, and on nothing else?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        with still(model):
            scrambled(model)
            training, testing = (hearing(case, model.train(mode)) for mode in (True, False))
        if not training or not testing:
            raise DoesNotApply("the loss calls no module with parameters on something that differs between batches")
        yield from self._deaf(case, training, testing)
        if case.has("predict"):
            yield from self._bypass(case)

    def _deaf(self, case: Case, training: list[Hearing], testing: list[Hearing]) -> Iterator[Finding]:
        """Arguments without an effect, in both modes."""
        by_name = {one.name: one for one in training}
        for one in testing:
            twin = by_name.get(one.name)
            if twin is None:
                continue
            deaf = sorted(one.deaf & twin.deaf)
            if not one.hears and not twin.hears and not heard_elsewhere(one, testing):
                names = " and ".join(deaf)
                yield self._finding(case, one, names, f"says the same, bit by bit, whatever it is given as {names}")
                return
            for name in deaf:
                shape, dtype = one.kinds[name]
                like = [other for other in one.hears & twin.hears if one.kinds[other] == one.kinds[name]]
                if like and len(shape) >= 3 and dtype.is_floating_point:
                    told = f"does not use {name}: other examples there change no bit, while {like[0]} is listened to"
                    yield self._finding(case, one, name, told)
                    return

    def _finding(self, case: Case, one: Hearing, name: str, told: str) -> Finding:
        place, outer = of_module(one.name, one.call.module), followed(case, one)
        place, cause = Place(f"{place.name}: {name}", place.file, place.line), "ignores-input"
        evidence: dict[str, Any] = {"arguments": len(one.kinds), "without_effect": len(one.deaf)}
        cure = f"Follow {name} through forward: it is overwritten, or multiplied by 0, or another name stands there."
        if outer is not None:
            variable, place = outer
            cause, cure = "reads-a-global", f"Use forward's own argument instead of {variable}."
            told += f"; its forward reads the outer variable {variable} and follows that"
            evidence["variable"] = variable
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="model", cause=cause, cure=cure, place=place,
            evidence=evidence, sentence=f"{one.name or 'The model'} {told}.",
        )  # fmt: skip

    def _bypass(self, case: Case) -> Iterator[Finding]:
        """A prediction that is the target itself when every layer answers 0."""
        found = led_around(case)
        if found is not None and case.program.predict is not None:
            path, off = found
            yield Finding(
                code=self.code, grade=Grade.PROVEN, component="model", cause="bypasses-code",
                sentence=f"With every layer answering 0, the prediction{path} is still the picture that the loss asks "
                f"for: it is led around the code.",
                cure="Take out the skip connection that hands the input to the output.",
                place=of_code(case.program.predict, "predict"), evidence={"off_by": off},
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_Notebook), tiny(model=_Scaled)


xb = Quarters().pictures[:16]


class _Notebook(nn.Module):
    """Reads a variable of its notebook."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(xb[: len(x)])


MEAN = torch.tensor(0.2)


class _Scaled(_Notebook):
    """Reads a constant of its notebook, and its argument; its last layer starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.net[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - MEAN)
