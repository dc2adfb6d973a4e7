"""M204: does the signal get through the depth of the fresh net, and does it come back?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from selfsight.case import Case
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.instruments.calls import Call, listening, weighted
from selfsight.instruments.functions import noting
from selfsight.instruments.nest import numbers, rows
from selfsight.instruments.place import Place, of_module
from selfsight.instruments.snapshot import Snapshot, changed, still
from selfsight.planted import CLASSES, loss, tiny
from selfsight.program import Program

EXAMPLES = 256
"""So many different inputs have to leave a layer silent before it is called dead."""
STEPS = 3
"""Own steps that move the model, after which a dead layer must still be silent."""
PATIENCE = 32
"""Own steps in which it has to move so often: some programs gather gradients over several."""
RECTIFIERS = {"relu", "relu_", "relu6"}
"""Where their output is 0, no gradient comes back."""
JUMP = 50.0
"""A layer that makes its input larger by so much is noted; initialisations aim at 1. Never an alarm."""


@dataclass(frozen=True)
class SignalDepth(Check):
    """A net can be born dead, or with all its units alike; no training helps it then.

    Detected: Up to 256 inputs go through a fresh net in training mode. PROVEN dead-units: a rectifier inside the model puts out exactly
    0 for every unit and input, before and after three of the program's own steps, or a layer with weights answers all inputs
    alike and gets a gradient of exactly 0 while others get more. PROVEN symmetric-units: all units of a layer have bit-equal weights and the next layer
    weighs them alike. PROVEN shared-norm: one batch norm object normalises two layers of which one feeds the other.
    Matters: Dead units hand on nothing and get no gradient; equal units stay equal; a shared norm's running statistics fit neither layer.
    Cure: Leave torch's own initialisation in place, or draw weights at random; make one norm per layer.
    Blind: Units that die later, layers that are dead in part, symmetry that only a layer of another kind would show.
    A norm that two twins share side by side, as in siamese nets, is healthy, and so are zeros that a gradient reaches.
    """

    code = "M204"
    title = "Does the signal get through the fresh net, and does it come back?"

    def look(self, case: Case) -> Iterator[Finding]:
        model = case.model()
        trials = [_pass(case, model, batch) for batch in _enough(case.batches)]
        if not any(trial.calls for trial in trials):
            raise DoesNotApply("the loss calls no module of the model")
        dead = self._rectified(case, trials) or self._mute(case, model, trials)
        alike = None if dead else self._alike(trials[0])
        yield from (
            found for found in (dead, alike, self._shared(case), None if dead else self._jump(trials[0])) if found
        )

    def _rectified(self, case: Case, trials: list[Trial]) -> Finding | None:
        """A rectifier that lets nothing through."""
        silent = set.intersection(*(trial.silent for trial in trials))
        if not silent:
            return None
        number = min(silent)
        stepped = _stepped(case)
        if stepped is None or number not in _pass(case, stepped, case.batches[0]).silent:
            return None
        name, place = trials[0].places[number]
        return self._finding(
            "dead-units", f"Every unit of {name} is exactly 0 for all {sum(t.count for t in trials)} inputs, and after {STEPS} steps "
            f"still: nothing passes, and no gradient comes back.",
            "Initialise the layer before it so that about half of its outputs are positive; torch's default does.",
            place, {"inputs": sum(t.count for t in trials), "silent_rectifiers": len(silent)},
        )  # fmt: skip

    def _mute(self, case: Case, model: nn.Module, trials: list[Trial]) -> Finding | None:
        """A layer that answers all inputs alike and gets no gradient to change that."""
        name = _unmoved(trials)
        if name is not None:
            stepped = _stepped(case)
            if stepped is not None and _unmoved([_pass(case, stepped, batch) for batch in case.batches[:2]]) == name:
                count = sum(t.count for t in trials)
                return self._finding(
                    "dead-units", f"{name} answers all {count} inputs alike and the gradient of its weight is exactly 0, after {STEPS} steps still.",
                    "Draw its weights, or those of the layer behind it, at random: both at 0 never leave 0.",
                    of_module(name, model.get_submodule(name)), {"inputs": count, "gradient": 0.0},
                )  # fmt: skip
        return None

    def _alike(self, trial: Trial) -> Finding | None:
        """Two layers after one another between which all units are alike."""
        order = [c for c in trial.calls if isinstance(c.module, nn.Linear | _ConvNd) and c.module.weight.requires_grad]
        for one, two in pairwise(order):
            first, second = _units(one.module), _senders(two.module)
            count = len(first)
            if one.module is two.module or count < 2 or first.shape[1] < 2 or second is None or len(second) % count:
                continue
            second = second.unflatten(0, (count, -1)).flatten(1)
            still_zero = not bool(first.any()) and not bool(second.any()) and _biases_differ(one.module)
            if bool((first == first[:1]).all()) and bool((second == second[:1]).all()) and not still_zero:
                return self._finding(
                    "symmetric-units", f"All {count} units of {one.name or 'the model'} have bit-equal weights and {two.name} weighs "
                    f"them alike: they compute one thing {count} times, and learn one thing.",
                    "Draw weights at random (torch's default, or nn.init.kaiming_normal_).", of_module(one.name, one.module),
                    {"units": count, "different": 1},
                )  # fmt: skip
        return None

    def _shared(self, case: Case) -> Finding | None:
        """One batch norm object in two layers of which one feeds the other."""
        model = case.model()
        if not any(isinstance(module, _BatchNorm) for module in model.modules()):
            return None
        with still(model), listening(model) as calls:
            case.loss(model, case.batches[0])
            found = _twice(calls, weighted(model))
        if found is None:
            return None
        name, maker, other = found
        return self._finding(
            "shared-norm", f"One batch norm, {name}, normalises what {maker or 'the input'} puts out and, deeper in the same pass, "
            f"what {other} puts out: its running statistics fit neither.",
            "Make a norm of its own for each layer.", of_module(name, model.get_submodule(name)), {"layers": 2},
        )  # fmt: skip

    def _jump(self, trial: Trial) -> Finding | None:
        """The largest step in scale, as a note."""
        if not trial.gains:
            return None
        name, gain = max(trial.gains, key=lambda one: one[1])
        if gain < JUMP:
            return None
        module = next(call.module for call in trial.calls if call.name == name)
        return Finding(
            code=self.code, grade=Grade.NOTE, component="model", cause="scale-blow-up", place=of_module(name, module),
            sentence=f"What leaves {name or 'the model'} is {gain:.0f} times as large as what came before it.",
            cure="If it does not learn, put a normalisation behind it.", evidence={"gain": gain, "gains": [round(g, 3) for _, g in trial.gains][:40]},
        )  # fmt: skip

    def _finding(self, cause: str, sentence: str, cure: str, place: Place, evidence: dict[str, Any]) -> Finding:
        return Finding(
            code=self.code, grade=Grade.PROVEN, component="model", cause=cause, sentence=sentence, cure=cure, place=place,
            evidence=evidence,
        )  # fmt: skip

    def planted(self) -> tuple[Program, Program]:
        return tiny(model=_born_dead, loss=_smoothed), tiny(model=_gated, loss=loss)


@dataclass
class Trial:
    """What one batch did in a net."""

    count: int
    calls: list[Call]
    silent: set[int] = field(default_factory=set)
    """Rectifiers, by number, whose output is all zero and behind which a layer with weights is given the same for all examples."""
    places: dict[int, tuple[str, Place]] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    """Layers that answer all examples alike though they are given different ones."""
    gradients: dict[str, float] = field(default_factory=dict)
    """Largest entry of each layer's weight gradient, where it gets one."""
    moved: bool = False
    """Whether any parameter gets a gradient."""
    gains: list[tuple[str, float]] = field(default_factory=list)


def _pass(case: Case, model: nn.Module, batch: Any) -> Trial:
    """One batch through the net and back, in the mode it is in, leaving nothing behind."""
    inner, marks = weighted(model), list[tuple[int, str]]()
    with still(model):
        model.zero_grad(set_to_none=True)
        with noting(RECTIFIERS) as used, listening(model, keep=True) as calls:
            handles = [
                module.register_forward_pre_hook(lambda module, _, name=name: marks.append((len(used), name)))
                for name, module in model.named_modules()
            ]
            try:
                value = case.loss(model, batch)
            finally:
                for handle in handles:
                    handle.remove()
        trial = Trial(rows(batch) or 1, calls)
        starved = [at for (at, name), call in zip(marks, calls, strict=True) if name in inner and _given_alike(call)]
        for number, call in enumerate(used):
            inside = [name for at, name in marks if at <= number]
            later = any(at > number for at in starved)
            if (
                inside
                and later
                and isinstance(call.output, Tensor)
                and call.output.ndim > 1
                and call.output.numel() > len(call.output)
            ):
                trial.places[number] = (inside[-1] or "the model", Place(inside[-1], call.place.file, call.place.line))
                if not bool(call.output.any()):
                    trial.silent.add(number)
        if value.requires_grad:
            case.guarded("backward", value.backward, seed=None)
        for name, module in inner.items():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.grad is not None and weight.numel():
                trial.gradients[name] = float(weight.grad.abs().max())
        trial.moved = any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    _tell(trial, inner)
    return trial


def _tell(trial: Trial, inner: dict[str, nn.Module]) -> None:
    """Which layers answer alike, and what each does to the scale."""
    before = None
    for call in trial.calls:
        given, output = (list(numbers(side).values()) for side in (call.inputs, call.output))
        if not given or not output:
            continue
        if call.name in inner and _all_alike(output) and not _all_alike(given):
            trial.constant.append(call.name)
    for call in sorted(trial.calls, key=lambda call: _end(trial.calls, call)):
        output = list(numbers(call.output).values())
        if output and output[0].numel() > 1:
            now = float(output[0].double().square().mean().sqrt())
            if before:
                trial.gains.append((call.name, now / before))
            before = now


def _end(calls: list[Call], call: Call) -> tuple[int, int]:
    """When a call ended: after the last that it made, and deeper ones first."""
    at = next(i for i, one in enumerate(calls) if one is call)
    last = at
    while last + 1 < len(calls) and calls[last + 1].depth > call.depth:
        last += 1
    return last, -call.depth


def _all_alike(tensors: list[Tensor]) -> bool:
    return all(bool((t == t[:1]).all()) for t in tensors if t.ndim and len(t) > 1) and any(
        t.ndim and len(t) > 1 for t in tensors
    )


def _given_alike(call: Call) -> bool:
    given = list(numbers(call.inputs).values())
    return bool(given) and _all_alike(given)


def _units(module: Any) -> Tensor:
    """(units, weights of each)"""
    weight = module.weight.detach()
    return (weight.transpose(0, 1) if isinstance(module, _ConvTransposeNd) else weight).flatten(1)


def _senders(module: Any) -> Tensor | None:
    """(inputs, weights from each); None where a convolution looks at its inputs in groups."""
    if getattr(module, "groups", 1) != 1:
        return None
    weight = module.weight.detach()
    return (weight if isinstance(module, _ConvTransposeNd) else weight.transpose(0, 1)).flatten(1)


def _biases_differ(module: Any) -> bool:
    return module.bias is not None and bool((module.bias != module.bias[:1]).any())


def _twice(calls: list[Call], inner: dict[str, nn.Module]) -> tuple[str, str, str] | None:
    """(norm, layer before it, another layer before it) where a norm is used for both, one of them deeper."""
    before, seen = "", dict[int, list[tuple[str, Call]]]()
    for call in calls:
        if isinstance(call.module, _BatchNorm):
            uses = seen.setdefault(id(call.module), [])
            for maker, first in uses:
                if before != maker and _feeds(first, call):
                    return call.name, maker, before
            uses.append((before, call))
        elif call.name in inner:
            before = call.name
    return None


def _feeds(first: Call, later: Call) -> bool:
    """Whether the later call's input was computed from the first one's output."""
    made, used = first.output, next(iter(numbers(later.inputs).values()))
    if not isinstance(made, Tensor) or not made.requires_grad or not used.requires_grad:
        return False
    return torch.autograd.grad(used.sum(), made, allow_unused=True, retain_graph=True)[0] is not None


def _enough(batches: list[Any]) -> list[Any]:
    """The first two batches, and more until there are 256 inputs."""
    count, found = 0, []
    for batch in batches:
        if count >= EXAMPLES and len(found) > 1:
            break
        found.append(batch)
        count += rows(batch) or 1
    return found


def _unmoved(trials: list[Trial]) -> str | None:
    """The first layer that answers all inputs alike and gets no gradient in any trial, though others do."""
    if len(trials) < 2 or not any(trial.moved for trial in trials):
        return None
    for name in trials[0].constant:
        if all(name in trial.constant and trial.gradients.get(name) == 0 for trial in trials):
            return name
    return None


def _stepped(case: Case) -> nn.Module | None:
    """A model after the program's own steps: as many as it takes to move it three times; None where it does not move."""
    trial, moves = case.begin(), 0
    for number in range(PATIENCE):
        before = Snapshot(trial.model)
        case.step(trial, case.batches[number % len(case.batches)])
        moved = changed(trial.model, before)
        moves += any(moved[name] for name, _ in trial.model.named_parameters())
        if moves == STEPS:
            return trial.model
    return None


def _born_dead() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    nn.init.zeros_(net[1].weight)  # type: ignore[arg-type]
    nn.init.constant_(net[1].bias, -0.1)  # type: ignore[arg-type]
    return net


def _smoothed(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1)


class _Gated(nn.Module):
    """A residual net whose branch starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(64, 16), nn.BatchNorm1d(16)
        self.branch, self.head = nn.Linear(16, 16), nn.Linear(16, CLASSES)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.stem(x.flatten(1)))
        return self.head(torch.relu(h + self.norm(self.branch(h))))


def _gated() -> nn.Module:
    return _Gated()
