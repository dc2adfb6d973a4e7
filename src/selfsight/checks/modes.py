"""M205: is the model in training mode when it is trained, and do its norms keep up?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from selfsight.case import Case, Trial
from selfsight.check import Check, Component, DoesNotApply, Finding, Grade
from selfsight.instruments.place import Place, of_code, of_module
from selfsight.instruments.snapshot import Snapshot, changed, still
from selfsight.planted import CLASSES, loss, tiny
from selfsight.program import Program

PATIENCE = 24
"""Own steps in which the weights have to move once: some programs gather gradients over several."""


@dataclass(frozen=True)
class Modes(Check):
    """Dropout and batch norm do one thing in training and another in evaluation; the switch is easily forgotten.

    Detected: The modes of all layers are written down while the program makes its own steps. PROVEN where the model is handed out in
    training mode, or with batch statistics that were never gathered, and yet every layer is in evaluation mode in each step, or
    in each step after the first between_epochs. PROVEN, too, where a batch norm in training mode does not move its running
    statistics off 0 and 1, or where they are no numbers while the weights are.
    Matters: Without training mode dropout does nothing and batch norm divides by 1; with stale statistics evaluation sees another net.
    Cure: model.train() at the start of every epoch, model.eval() only around evaluation.
    Blind: Layers of the user's own that look at self.training. Layers none of whose weights move, and norms that alone are put into
    evaluation mode, are taken for frozen on purpose; so is a pretrained net handed out in evaluation mode, which is a NOTE.
    """

    code = "M205"
    title = "Is the model in training mode when it is trained?"

    def look(self, case: Case) -> Iterator[Finding]:
        trial = case.begin()
        model = trial.model
        handed_out = model.training
        watched = {name: module for name, module in model.named_modules() if _acts_apart(module)}
        if not watched:
            raise DoesNotApply("the model has no dropout and no batch norm")
        fresh = _fresh(watched)
        seen, trained = _stepped(case, trial, watched)
        alive = {name for name in watched if _owner(model, name) in trained}
        called = {name for name in alive if seen.modes.get(name)}
        if called:
            asleep = seen.asleep and not any(True in seen.modes[name] for name in called)
            if asleep:
                yield self._asleep(case, trial, handed_out, sorted(called), fresh)
            else:
                yield from self._stale(case, trial, seen, fresh, sorted(called))
                yield from self._after_epoch(case, trial, watched, called)
        yield from self._embedding(case)

    def _asleep(self, case: Case, trial: Trial, handed_out: bool, names: list[str], fresh: set[str]) -> Finding:
        norms = [name for name in names if name in fresh]
        drops = [name for name in names if not isinstance(trial.model.get_submodule(name), _BatchNorm)]
        proven = bool(norms) or (handed_out and bool(drops))  # norms alone may be kept as they were trained, on purpose
        why = "" if handed_out else ": it is handed out in that mode and nothing changes it"
        what = f"{len(names)} layers ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        return Finding(
            code=self.code, grade=Grade.PROVEN if proven else Grade.NOTE, component="loop", cause="train-eval-mode",
            sentence=f"In every training step the whole model is in evaluation mode{why}, so {what} of dropout or batch norm do not do "
            f"their work.",
            cure="Call model.train() before the step; model.eval() only around evaluation.",
            place=_place_of_step(case), evidence={"layers": len(names), "fresh_norms": len(norms)},
        )  # fmt: skip

    def _after_epoch(
        self, case: Case, trial: Trial, watched: dict[str, nn.Module], called: set[str]
    ) -> Iterator[Finding]:
        """The step after the first epoch has ended."""
        if case.program.between_epochs is None:
            return
        case.call("between_epochs", trial.model, trial.optimizer, 0)
        seen = Seen()
        with _watching(trial.model, watched, seen):
            case.step(trial, case.batches[0])
        if seen.asleep and any(seen.modes.get(name) for name in called):
            yield Finding(
                code=self.code, grade=Grade.PROVEN, component="loop", cause="train-eval-mode",
                sentence="After the first epoch the whole model stays in evaluation mode, and all further steps train it so.",
                cure="Call model.train() again when the evaluation is over.",
                place=of_code(case.program.between_epochs, "between_epochs"), evidence={"layers": len(called)},
            )  # fmt: skip

    def _stale(self, case: Case, trial: Trial, seen: Seen, fresh: set[str], called: list[str]) -> Iterator[Finding]:
        """Running statistics that do not run."""
        finite = all(bool(p.isfinite().all()) for p in trial.model.parameters())
        for name in called:
            norm = trial.model.get_submodule(name)
            if not isinstance(norm, _BatchNorm) or norm.running_mean is None or seen.modes[name] != {True}:
                continue
            broken = finite and not bool(norm.running_mean.isfinite().all())
            if broken or (name in fresh and name in _fresh({name: norm})):
                told = "are no numbers, though all weights are" if broken else "stay at 0 and 1 in training mode"
                yield self._norm(name, norm, f"The running statistics of {name} {told} (momentum {norm.momentum}).")
                return

    def _norm(self, name: str, norm: _BatchNorm, sentence: str, component: Component = "model") -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component=component, cause="train-eval-mode", sentence=sentence,
            cure="Give batch norm a momentum above 0 (torch's default is .1): evaluation uses what it has gathered.",
            place=of_module(name, norm), evidence={"momentum": -1.0 if norm.momentum is None else norm.momentum},
        )  # fmt: skip

    def _embedding(self, case: Case) -> Iterator[Finding]:
        """Whether `embed` puts the model into training mode by itself."""
        if not case.has("embed"):
            return
        model = case.model().eval()
        watched = {name: module for name, module in model.named_modules() if _acts_apart(module)}
        seen = Seen()
        with still(model), torch.no_grad(), _watching(model, watched, seen):
            case.call("embed", model, case.batch)
        awake = sorted(name for name, modes in seen.modes.items() if True in modes)
        if awake:
            yield Finding(
                code=self.code, grade=Grade.NOTE, component="loop", cause="train-eval-mode",
                sentence=f"Program.embed runs {', '.join(awake[:3])} in training mode, though the model is handed to it in evaluation mode.",
                cure="Leave the mode to the caller, or call eval().",
                place=of_code(case.program.embed, "embed") if case.program.embed else Place(), evidence={"layers": len(awake)},
            )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        def asleep(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
            model.eval()
            return _plain(model, optimizer, batch)

        return tiny(model=_dropping, step=asleep), tiny(model=_frozen, step=_plain)


@dataclass
class Seen:
    """What modes layers were in when they were called."""

    modes: dict[str, set[bool]] = field(default_factory=dict)
    asleep: bool = True
    """Whether no module at all, the model itself included, was in training mode at any call."""


@contextmanager
def _watching(model: nn.Module, watched: dict[str, nn.Module], seen: Seen) -> Iterator[None]:
    names = {id(module): name for name, module in watched.items()}

    def note(module: nn.Module, _: Any) -> None:
        seen.asleep &= not module.training and not model.training
        if id(module) in names:
            seen.modes.setdefault(names[id(module)], set()).add(module.training)

    handles = [module.register_forward_pre_hook(note) for module in dict.fromkeys(model.modules())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _stepped(case: Case, trial: Trial, watched: dict[str, nn.Module]) -> tuple[Seen, set[str]]:
    """The modes in the program's own steps until weights have moved, and the names of the parameters that did."""
    seen, before = Seen(), Snapshot(trial.model)
    parameters = {name for name, _ in trial.model.named_parameters()}
    with _watching(trial.model, watched, seen):
        for number in range(PATIENCE):
            case.step(trial, case.batches[number % len(case.batches)])
            moved = {name for name, new in changed(trial.model, before).items() if new} & parameters
            if moved:
                return seen, {name.rpartition(".")[0] for name in moved}
    return seen, set()


def _owner(model: nn.Module, name: str) -> str:
    """The layer whose moving tells that this one is trained: itself, or the next one before or around it with weights."""
    if any(True for _ in model.get_submodule(name).parameters(recurse=False)):
        return name
    order = [
        other
        for other, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False)) or other == name
    ]
    before = order[: order.index(name)]
    return before[-1] if before else next((other for other in order if other != name), "")


def _acts_apart(module: nn.Module) -> bool:
    """Whether a layer does something else in training."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return isinstance(module, _BatchNorm) and module.track_running_stats


def _fresh(watched: dict[str, nn.Module]) -> set[str]:
    """Batch norms whose running statistics are as they were born."""
    return {
        name
        for name, module in watched.items()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
        and not bool(module.running_mean.any())
        and bool((module.running_var == 1).all())
    }


def _place_of_step(case: Case) -> Place:
    return of_code(case.program.step, "step") if case.program.step else of_code(case.program.loss, "loss")


def _plain(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    value = loss(model, batch)
    value.backward()
    optimizer.step()
    return value


def _dropping() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))


def _frozen() -> nn.Module:
    """A frozen body in evaluation mode under a head with dropout."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()).eval().requires_grad_(False)
    net = nn.Sequential(body, nn.Dropout(0.1), nn.Linear(16, CLASSES))
    body.training = False
    return net
