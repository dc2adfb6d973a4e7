"""M204: does the signal get through the depth of the fresh net, and does it come back?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.calls import listening
from selfsight.instruments.place import Place, of_module
from selfsight.instruments.snapshot import still
from selfsight.instruments.units import alike, shared_norm
from selfsight.observations.depth import Depth, enough, passed, stepped, unmoved
from selfsight.planted import CLASSES, tiny
from selfsight.program import Program

EXAMPLES = 256
"""So many inputs, if there are, have to leave a layer silent."""
STEPS = 3
"""Own steps that move the weights, after which a dead layer must still be silent."""
PATIENCE = 32
"""Own steps in which they have to move so often: some programs gather gradients over several."""
JUMP = 50.0
"""A layer that makes its input larger by so much is noted; initialisations aim at 1. Never an alarm."""


@dataclass(frozen=True)
class SignalDepth(Check):
    """A net can be born dead, or with all its units alike; no training helps it then.

    Detected: Up to 256 inputs go through a fresh net in the mode it comes in. PROVEN dead-units: a rectifier puts
    out exactly 0 for every unit and input, so that a layer behind it is given one and the same, before and after three
    of the program's own steps; or a layer answers all inputs alike and its gradient is exactly 0, as long. PROVEN
    symmetric-units: all units of a layer have bit-equal weights and the next layer weighs them alike. PROVEN
    shared-norm: one batch norm object normalises two layers of which one feeds the other.
    Matters: Dead units get no gradient; equal units stay equal; a shared norm's running statistics fit neither layer.
    Cure: Leave torch's own initialisation in place, or draw weights at random; make one norm per layer.
    Blind: Units that die later, layers that are dead in part, symmetry that only a layer of another kind would show.
    A norm that twins share side by side, as in siamese nets, is healthy, and so are zeros that a gradient reaches.
    """

    code = "M204"
    title = "Does the signal get through the fresh net, and does it come back?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        depths = [passed(case, model, batch) for batch in enough(case.batches, EXAMPLES)]
        if not depths[0].order:
            raise DoesNotApply("the loss calls no module with weights")
        dead = self._silent(case, depths) or self._mute(case, model, depths)
        found = [dead, self._shared(case)]
        if dead is None:
            found += [self._alike(model, depths[0]), self._jump(model, depths[0])]
        yield from (one for one in found if one is not None)

    def _silent(self, case: Case, depths: list[Depth]) -> Finding | None:
        """A rectifier that lets nothing through."""
        silent = set.intersection(*(set(depth.silent) for depth in depths))
        if not silent or min(silent) not in passed(case, stepped(case, STEPS, PATIENCE)[0], case.batches[0]).silent:
            return None
        place, count = depths[0].silent[min(silent)], sum(depth.count for depth in depths)
        return self._finding(
            "dead-units", f"Every unit of {place.name or 'the model'} is exactly 0 for all {count} inputs, and after "
            f"{STEPS} steps still: nothing passes, and no gradient comes back.",
            "Initialise the layer before it so that about half of its outputs are positive, as torch's default does.",
            place, {"inputs": count, "silent_rectifiers": len(silent)},
        )  # fmt: skip

    def _mute(self, case: Case, model: nn.Module, depths: list[Depth]) -> Finding | None:
        """A layer that answers all inputs alike and gets no gradient to change that."""
        name = unmoved(depths)
        if name is None:
            return None
        later, moved = stepped(case, STEPS, PATIENCE)
        if not moved or unmoved([passed(case, later, batch) for batch in case.batches[:2]]) != name:
            return None
        count = sum(depth.count for depth in depths)
        return self._finding(
            "dead-units",
            f"{name} answers all {count} inputs alike and its gradient is exactly 0, after {STEPS} steps still.",
            "Draw its weights, or those of the layer behind it, at random: both at 0 never leave 0.",
            of_module(name, model.get_submodule(name)), {"inputs": count, "gradient": 0.0},
        )  # fmt: skip

    def _alike(self, model: nn.Module, depth: Depth) -> Finding | None:
        """Two layers after one another between which all units are alike."""
        found = alike(model, depth.order)
        if found is None:
            return None
        name, following, count = found
        return self._finding(
            "symmetric-units", f"All {count} units of {name} have bit-equal weights and {following} weighs "
            f"them alike: they compute one thing {count} times, and learn one thing.",
            "Draw weights at random (torch's default, or nn.init.kaiming_normal_).",
            of_module(name, model.get_submodule(name)), {"units": count, "different": 1},
        )  # fmt: skip

    def _shared(self, case: Case) -> Finding | None:
        """One batch norm object in two layers of which one feeds the other."""
        model = case.model()
        if not any(isinstance(module, _BatchNorm) for module in model.modules()):
            return None
        with still(model), listening(model) as calls:
            case.loss(model, case.batches[0])
            found = shared_norm(model, calls)
        if found is None:
            return None
        name, maker, other = found
        return self._finding(
            "shared-norm", f"One batch norm, {name}, normalises what {maker or 'the input'} puts out and, deeper in "
            f"the same pass, what {other} puts out: its running statistics fit neither.",
            "Make a norm of its own for each layer.", of_module(name, model.get_submodule(name)), {"layers": 2},
        )  # fmt: skip

    def _jump(self, model: nn.Module, depth: Depth) -> Finding | None:
        """The largest step in scale, as a note."""
        name, gain = max(depth.gains, key=lambda one: one[1], default=("", 0.0))
        if gain < JUMP:
            return None
        return self._finding(
            "scale-blow-up", f"What leaves {name or 'the model'} is {gain:.0f} times as large as what came before it.",
            "If it does not learn, put a normalisation behind it.", of_module(name, model.get_submodule(name)),
            {"gain": gain, "gains": [round(one, 3) for _, one in depth.gains][:40]}, Grade.NOTE,
        )  # fmt: skip

    def _finding(
        self, cause: str, told: str, cure: str, place: Place, evidence: dict[str, Any], grade: Grade = Grade.PROVEN
    ) -> Finding:
        return Finding(
            code=self.code, grade=grade, component="model", cause=cause, sentence=told, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_born_dead), tiny(model=_gated)


def _born_dead() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    nn.init.zeros_(net[1].weight)  # type: ignore[arg-type]
    nn.init.constant_(net[1].bias, -0.1)  # type: ignore[arg-type]
    return net


def _gated() -> nn.Module:
    """Its last layer starts at 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    nn.init.zeros_(net[3].weight)  # type: ignore[arg-type]
    return net
