"""M202: does the output depend on the input, and on nothing else?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.case import Case, Failed
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.calls import listening, playing, slots_of
from selfsight.instruments.hearing import Hearing, followed, heard_elsewhere, hearing, scrambled
from selfsight.instruments.nest import leaves, numbers, rebuilt
from selfsight.instruments.place import Place, of_code, of_module
from selfsight.instruments.randomness import replayed
from selfsight.instruments.snapshot import same, still
from selfsight.planted import CLASSES, Quarters, tiny
from selfsight.program import Program

NEAR = 1e-2
"""How near, as a share of the picture's range, a prediction without weights has to come to the picture to be it: bounds
that keep a logit finite cost a tenth of that."""


@dataclass(frozen=True)
class IgnoredInput(Check):
    """A net that does not look at its input learns the best constant, whatever else is right.

    Detected: What the model's outermost modules get is replaced by what they get in another batch, with weights drawn at
    random so that no zero of the initialisation hides a path. PROVEN where all of it changes no bit of the output, or
    where one picture or sequence has no effect though another of the same shape and type has. If the output
    follows an outer variable that forward reads instead, the variable and its line are named. PROVEN, too, where the
    prediction is the target itself when every layer answers 0: then the code need hold nothing.
    Matters: A variable of the notebook that bears an argument's name is used without a word, and nothing can be learned.
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
            code=self.code, grade=Grade.PROVEN, component="model", cause=cause, cure=cure, place=place, evidence=evidence,
            sentence=f"{one.name or 'The model'} {told}.",
        )  # fmt: skip

    def _bypass(self, case: Case) -> Iterator[Finding]:
        """A prediction that is the target itself when every layer answers 0."""
        bare = _without_layers(case)
        for path, told in numbers(bare).items():
            for where, picture in numbers(case.batch).items():
                alike = told.shape == picture.shape and picture.ndim >= 3 and _is(told, picture)
                if alike and _is_target(case, bare, where):
                    yield Finding(
                        code=self.code, grade=Grade.PROVEN, component="model", cause="bypasses-code",
                        sentence=f"With every layer answering 0, the prediction{path} is still the picture that the loss "
                        f"asks for: it is led around the code.",
                        cure="Take out the skip connection that hands the input to the output.",
                        place=of_code(case.program.predict, "predict") if case.program.predict else Place(),
                        evidence={"off_by": float((told - picture).abs().max())},
                    )  # fmt: skip
                    return

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_Notebook), tiny(model=_Scaled)


def _without_layers(case: Case) -> Any:
    """What is predicted when every layer with weights answers 0; None where it cannot be played back."""
    model = case.model().eval()
    with still(model), torch.no_grad():
        with replayed(0), listening(model, keep=True) as calls:
            case.call("predict", model, case.batch, seed=None)
        zeros = {slot: torch.zeros_like(tensor) for slot, tensor in slots_of(model, calls).items()}
        try:
            with replayed(0), playing(model, calls, zeros):
                return case.call("predict", model, case.batch, seed=None)
        except Failed:
            return None


def _is_target(case: Case, said: Any, where: str) -> bool:
    """Whether the criterion, with a fixed prediction, looks at this tensor of the batch."""
    other = rebuilt(case.batch, {where: leaves(case.batch)[where].flip(0) * 0.5})
    losses = [case.call("criterion", said, batch) for batch in (case.batch, other)]
    return not same(losses[0].detach(), losses[1].detach())


def _is(told: Tensor, picture: Tensor) -> bool:
    reach = float(picture.max() - picture.min())
    return reach > 0 and float((told - picture).abs().max()) <= NEAR * reach


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
