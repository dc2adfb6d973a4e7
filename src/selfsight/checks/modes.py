"""M205: is the model in training mode when it is trained, and do its norms keep up?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsight.case import Case, Trial
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code, of_module
from selfsight.instruments.snapshot import still
from selfsight.observations.modes import Seen, acts_apart, first_steps, fresh_norms, owner, watching
from selfsight.planted import CLASSES, loss, tiny
from selfsight.program import Program


@dataclass(frozen=True)
class Modes(Check):
    """Dropout and batch norm do one thing in training and another in evaluation; the switch is easily forgotten.

    Detected: The modes of all layers are written down while the program makes its own steps. PROVEN where the model is
    handed out in training mode, or with batch statistics that were never gathered, and yet every layer is in evaluation
    mode in each step, or in the step after the first between_epochs. PROVEN, too, where a batch norm in training mode
    does not move its running statistics off 0 and 1, or where they are no numbers while the weights are.
    Matters: Without training mode dropout does nothing and batch norm divides by 1; statistics that do not run make
    evaluation see another net.
    Cure: model.train() at the start of every epoch, model.eval() only around evaluation.
    Blind: Layers of the user's own that look at self.training. Layers none of whose weights move, and norms that alone
    are in evaluation mode, are taken for frozen on purpose; a pretrained net in evaluation mode is a NOTE.
    """

    code = "M205"
    title = "Is the model in training mode when it is trained?"

    def look(self, case: Case) -> Iterator[Finding]:
        trial = case.begin()
        model, handed_out = trial.model, trial.model.training
        watched = {name: module for name, module in model.named_modules() if acts_apart(module)}
        if not watched:
            raise DoesNotApply("the model has no dropout and no batch norm")
        fresh = fresh_norms(watched)
        seen, trained = first_steps(case, trial, watched)
        alive = {name for name in watched if owner(model, name) in trained}
        called = {name for name in alive if seen.modes.get(name)}
        if called:
            if seen.asleep:
                yield self._asleep(case, trial, handed_out, sorted(called), fresh)
            else:
                yield from self._stale(trial, seen, fresh, sorted(called))
                yield from self._after_epoch(case, trial, watched, called)
        yield from self._embedding(case)

    def _asleep(self, case: Case, trial: Trial, handed_out: bool, names: list[str], fresh: set[str]) -> Finding:
        norms = [name for name in names if name in fresh]
        drops = [name for name in names if not isinstance(trial.model.get_submodule(name), _BatchNorm)]
        proven = bool(norms) or (handed_out and bool(drops))  # norms alone may be kept as they were trained, on purpose
        why = "" if handed_out else ": it is handed out in that mode and nothing changes it"
        what = f"{len(names)} layer{'s' * (len(names) > 1)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        step, evidence = case.program.step, {"layers": len(names), "fresh_norms": len(norms)}
        return self._finding(
            f"In every training step the whole model is in evaluation mode{why}: {what} of dropout or batch norm "
            f"cannot do what they are for.",
            "Call model.train() before the step; model.eval() only around evaluation.",
            of_code(step, "step") if step else of_code(case.program.loss, "loss"), evidence,
            grade=Grade.PROVEN if proven else Grade.NOTE,
        )  # fmt: skip

    def _after_epoch(
        self, case: Case, trial: Trial, watched: dict[str, nn.Module], called: set[str]
    ) -> Iterator[Finding]:
        """The step after the first epoch has ended."""
        if case.program.between_epochs is None:
            return
        case.call("between_epochs", trial.model, trial.optimizer, 0)
        seen = Seen()
        with watching(trial.model, watched, seen):
            case.step(trial, case.batches[0])
        if seen.asleep and any(seen.modes.get(name) for name in called):
            yield self._finding(
                "After the first epoch the whole model stays in evaluation mode, and all further steps train it so.",
                "Call model.train() again when the evaluation is over.",
                of_code(case.program.between_epochs, "between_epochs"), {"layers": len(called)},
            )  # fmt: skip

    def _stale(self, trial: Trial, seen: Seen, fresh: set[str], called: list[str]) -> Iterator[Finding]:
        """Running statistics that do not run."""
        finite = all(bool(p.isfinite().all()) for p in trial.model.parameters())
        for name in called:
            norm = trial.model.get_submodule(name)
            if not isinstance(norm, _BatchNorm) or norm.running_mean is None or seen.modes[name] != {True}:
                continue
            broken = finite and not bool(norm.running_mean.isfinite().all())
            if broken or (name in fresh and name in fresh_norms({name: norm})):
                told = "are no numbers, though all weights are" if broken else "stay at 0 and 1 in training mode"
                yield self._finding(
                    f"The running statistics of {name} {told} (momentum {norm.momentum}).",
                    "Give batch norm a momentum above 0 (torch's default is .1): evaluation uses what it has gathered.",
                    of_module(name, norm), {"momentum": str(norm.momentum)}, component="model",
                )  # fmt: skip
                return

    def _embedding(self, case: Case) -> Iterator[Finding]:
        """Whether `embed` puts the model into training mode by itself."""
        if case.program.embed is None:
            return
        model = case.model().eval()
        watched = {name: module for name, module in model.named_modules() if acts_apart(module)}
        seen = Seen()
        with still(model), torch.no_grad(), watching(model, watched, seen):
            case.call("embed", model, case.batch)
        awake = sorted(name for name, modes in seen.modes.items() if True in modes)
        if awake:
            yield self._finding(
                f"Program.embed runs {', '.join(awake[:3])} in training mode, though it is to evaluate.",
                "Leave the mode to the caller, or call eval().", of_code(case.program.embed, "embed"),
                {"layers": len(awake)}, grade=Grade.NOTE,
            )  # fmt: skip

    def _finding(
        self, told: str, cure: str, place: Place, evidence: dict[str, Any],
        component: Component = "loop", grade: Grade = Grade.PROVEN,
    ) -> Finding:  # fmt: skip
        return Finding(
            code=self.code, grade=grade, component=component, cause="train-eval-mode", sentence=told, cure=cure,
            place=place, evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_dropping, loss=lambda net, batch: loss(net.eval(), batch)), tiny(model=_frozen)


def _dropping() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))


def _frozen() -> nn.Module:
    """A frozen body in evaluation mode under a head with dropout."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()).eval().requires_grad_(False)
    net = nn.Sequential(body, nn.Dropout(0.1), nn.Linear(16, CLASSES))
    body.training = False
    return net
