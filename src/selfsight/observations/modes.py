"""In which modes layers are while a program trains: dropout and batch norm, which do something else in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from selfsight.case import Case, Trial
from selfsight.instruments.snapshot import Snapshot, changed

PATIENCE = 24
"""Own steps in which the weights have to move once: some programs gather gradients over several."""


@dataclass
class Seen:
    """What modes layers were in when they were called."""

    modes: dict[str, set[bool]] = field(default_factory=dict)
    asleep: bool = True
    """Whether no module at all, the model itself included, was in training mode at any call."""


@contextmanager
def watching(model: nn.Module, watched: dict[str, nn.Module], seen: Seen) -> Iterator[None]:
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


def first_steps(case: Case, trial: Trial, watched: dict[str, nn.Module]) -> tuple[Seen, set[str]]:
    """The modes in the program's own steps until weights have moved, and the names of the parameters that did."""
    seen, before = Seen(), Snapshot(trial.model)
    parameters = {name for name, _ in trial.model.named_parameters()}
    with watching(trial.model, watched, seen):
        for number in range(PATIENCE):
            case.step(trial, case.batches[number % len(case.batches)])
            moved = {name for name, new in changed(trial.model, before).items() if new} & parameters
            if moved:
                return seen, {name.rpartition(".")[0] for name in moved}
    return seen, set()


def owner(model: nn.Module, name: str) -> str:
    """The layer whose moving tells that this one is trained: itself, or the last one with weights before it."""
    if any(True for _ in model.get_submodule(name).parameters(recurse=False)):
        return name
    own = [at for at, module in model.named_modules() if at == name or any(True for _ in module.parameters(False))]
    before = own[: own.index(name)]
    return before[-1] if before else next((at for at in own if at != name), "")


def acts_apart(module: nn.Module) -> bool:
    """Whether a layer does something else in training."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return isinstance(module, _BatchNorm) and module.track_running_stats


def fresh_norms(watched: dict[str, nn.Module]) -> set[str]:
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
