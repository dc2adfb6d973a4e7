"""One fault: a mistake as it is really made in code, put into a host by replacing one of its pieces, and the truth about it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from doctor_programs.host import Host, changed

COMPONENTS = ("data", "labels", "model", "loss", "optimizer", "loop", "teacher")


@dataclass(frozen=True)
class Fault:
    """A mistake and the truth about it."""

    id: str
    name: str
    component: str
    causes: frozenset[str]
    """Every cause that is a true account of it."""
    mistake: Callable[[Host], Host | None]
    """The host with the mistake; None where it makes no sense on that host."""
    place: str | None = None
    """Substrings of a right place, parted by |; {encoder} and {head} stand for the host's own names."""
    raises: bool = False
    """Whether training ends in an exception sooner or later."""

    def inject(self, host: Host) -> Host | None:
        """The host with the mistake, or None; the global random state stays where it is."""
        with torch.random.fork_rng(devices=[]):
            return self.mistake(host)

    def found_at(self, host: Host, place: str) -> bool:
        """Whether a place that was told is a right one."""
        right = (self.place or "").format(encoder=host.encoder, head=host.head)
        return any(part and part in place for part in right.split("|"))


def override(module: nn.Module, method: Callable[..., Any], name: str = "forward") -> nn.Module:
    """The module with one method of its class rewritten: `method(self, original, *given)`."""
    written = type(module)
    original = getattr(written, name)

    def rewritten(self: nn.Module, *given: Any) -> Any:
        return method(self, original, *given)

    module.__class__ = type(written.__name__, (written,), {name: rewritten})
    return module


def rebuilt(host: Host, change: Callable[[nn.Module], Any]) -> Host:
    """The host whose model is changed as soon as it is built; a momentum teacher is a copy of the changed student."""

    def build() -> nn.Module:
        model: Any = host.model()
        change(model)
        if host.teacher and model.target is not model.online:
            model.target = deepcopy(model.online).requires_grad_(False)
        return model

    return changed(host, model=build)


def reencoded(host: Host, method: Callable[..., Any]) -> Host:
    """The host whose encoder has another forward."""
    return rebuilt(host, lambda model: override(model.get_submodule(host.encoder), method))


def last_linear(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """The last linear layer inside, with its name."""
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return found[-1] if found else None


def first_batch(host: Host) -> Any:
    """A training batch, without moving the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return next(iter(host.loader(host.dataset(host, True), True)))


def mapped(change: Callable[[Tensor], Tensor], told: Any) -> Any:
    """The same nest of tuples, lists and dicts with each tensor changed."""
    if isinstance(told, Tensor):
        return change(told)
    if isinstance(told, dict):
        return {name: mapped(change, part) for name, part in told.items()}
    if isinstance(told, list | tuple):
        return type(told)(mapped(change, part) for part in told)
    return told
