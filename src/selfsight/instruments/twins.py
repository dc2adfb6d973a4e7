"""A momentum twin and its student: which memory they share, which tensors belong together, how far one follows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from selfsight.instruments.snapshot import same


def shared(model: nn.Module, teacher: nn.Module) -> list[str]:
    """Names in the twin of the tensors whose memory the rest of the model uses too; all, where it is the model."""
    inside = [name for name, module in model.named_modules(remove_duplicate=False) if module is teacher]
    if "" in inside:
        return [name for name, _ in teacher.named_parameters()]
    first = f"{inside[0]}." if inside else None
    rest = {
        parameter.untyped_storage().data_ptr()
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if first is None or not name.startswith(first)
    }
    if first is None:  # it stands in no attribute: what is the model's is its student's
        own = {id(parameter) for parameter in model.parameters()}
        return [name for name, p in teacher.named_parameters() if id(p) not in own and _memory(p) in rest]
    return [name for name, p in teacher.named_parameters() if p.numel() and _memory(p) in rest]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def pairs(model: nn.Module, teacher: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """(the twin's tensor, its student's): those of the module with the same names and shapes that is most like it, else
    tensors that are equal."""
    common = set(shared(model, teacher))
    mine = {name: p for name, p in teacher.named_parameters() if name not in common}
    own = {id(p) for p in teacher.parameters()}
    best: dict[str, nn.Parameter] = {}
    most = -1
    for module in model.modules():
        theirs = {name: p for name, p in module.named_parameters() if id(p) not in own}
        if mine and all(name in theirs and theirs[name].shape == p.shape for name, p in mine.items()):
            alike = sum(same(p.detach(), theirs[name].detach()) for name, p in mine.items())
            if alike > most:
                best, most = theirs, alike
    if best:
        return [(p, best[name]) for name, p in mine.items()]
    others = [p for p in model.parameters() if id(p) not in own and p.ndim > 1]
    return [(p, other) for p in mine.values() for other in others if same(other.detach(), p.detach())]


def share(before: Tensor, after: Tensor, targets: tuple[Tensor, ...]) -> tuple[float, float]:
    """(how much of the way to its student a tensor went, how much of its move that does not explain), by least squares.

    The targets are the student after and before the optimizer's step: a twin may follow either; the better counts.
    """
    moved, best = (after - before).double().flatten(), (0.0, 1.0)
    for target in targets:
        way = (target - before).double().flatten()
        square, length = float(way @ way), float(moved.norm())
        if square and length:
            went = float(moved @ way) / square
            best = min(best, (went, float((moved - went * way).norm()) / length), key=lambda pair: pair[1])
    return best


def due(mine: Tensor, other: Tensor, went: float, times: float) -> bool:
    """Whether going so much of the way moves any number by more than so many times what its precision hides."""
    way = abs(went) * (other - mine).double().abs()
    return bool((way > times * torch.finfo(mine.dtype).eps * mine.double().abs()).any())
