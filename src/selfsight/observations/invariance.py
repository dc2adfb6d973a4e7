"""What a loss does not notice: free outputs are scaled and shifted by powers of two, which floating point does exactly.

Shapes: R rows of outputs, D numbers each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.instruments.calls import Slot
from selfsight.instruments.functions import argument, noting
from selfsight.instruments.place import Place
from selfsight.instruments.reach import Tail
from selfsight.observations.tails import Twofold, drawn

SAME = 1e-5
"""Relative to what other random outputs do to the loss; scaling by 4 before a division by the length is off by 1e-7."""
OTHER = 1e-3
"""As relative; below it an effect is neither there nor absent."""
Outputs = dict[Slot, Tensor]


@dataclass(frozen=True)
class Scaling:
    """How far the loss moves, in units of what other random outputs do to it; the largest of two drawings."""

    all: float
    """Everything times 4."""
    row: float
    """One example's row times 4."""
    column: float
    """One feature of all rows times 4; the feature of least effect in `least_column`, the largest here."""
    least_column: float
    shift: float
    """One number added to everything."""
    column_shift: float
    """One number added to one feature of all rows."""
    mixed: float
    """Rows replaced by an orthogonal mixture of them: what a loss that compares features with features cannot see."""

    @property
    def whole(self) -> bool:
        """Unmoved by a scale of everything alone: not by one of a row, one of a feature, or an offset (centring)."""
        return self.all < SAME and min(self.row, self.least_column, self.shift) > OTHER

    @property
    def columns(self) -> bool:
        """Unmoved by each feature's scale, though rows are what is compared and nothing is centred."""
        return self.column < SAME and min(self.row, self.column_shift, self.mixed) > OTHER

    @property
    def numbers(self) -> dict[str, float]:
        return {"scaling_all": self.all, "scaling_one_example": self.row, "scaling_one_feature": self.column}


def scaling(two: Twofold, group: list[Slot]) -> Scaling:
    """The loss held against scaled and shifted outputs of one or more slots together, and against mixed examples."""
    generator, slots = torch.Generator().manual_seed(0), two.by_example()
    moved = [_moved(two, drawn(two.tail, slots, generator), drawn(two.tail, slots, generator), group) for _ in range(2)]

    def both(name: str, pick: Callable[..., float] = max) -> float:
        return pick(one[name] for one in moved)

    return Scaling(
        all=both("all"), row=both("row", min), column=both("column"), least_column=both("least_column", min),
        shift=both("shift", min), column_shift=both("column_shift", min), mixed=both("mixed", min),
    )  # fmt: skip


def _moved(two: Twofold, z: Outputs, fresh: Outputs, group: list[Slot]) -> dict[str, float]:
    base = loss_at(two.tail, z)
    unit = max(abs(loss_at(two.tail, fresh) - base), 1e-6 * abs(base), 1e-12)

    def off(change: Callable[[Tensor], Tensor], which: list[Slot]) -> float:
        changed = {slot: change(value) if slot in which else value for slot, value in z.items()}
        return abs(loss_at(two.tail, changed) - base) / unit

    first, step = group[:1], float(z[group[0]].std())
    columns = range(min(4, z[group[0]].shape[1])) if z[group[0]].shape[1] > 1 else ()
    scaled = [off(lambda value, i=i: _column(value, i, 4.0, 0.0), first) for i in columns]  # type: ignore[misc]
    return {
        "all": off(lambda value: value * 4, group),
        "row": off(lambda value: _row(value, 4.0), first),
        "column": max(scaled, default=torch.inf),
        "least_column": min(scaled, default=0.0),
        "shift": off(lambda value: value + step, group),
        "column_shift": off(lambda value: _column(value, 0, 1.0, step), first),
        "mixed": min(off(lambda value, lay=lay: _mixed(value, two.count, lay), [*z]) for lay in (0, 1)),  # type: ignore[misc]
    }


def loss_at(tail: Tail, outputs: Outputs) -> float:
    with torch.no_grad():
        return float(tail(outputs).double())


def _row(value: Tensor, factor: float) -> Tensor:
    changed = value.clone()
    changed[0] *= factor
    return changed


def _column(value: Tensor, which: int, factor: float, added: float) -> Tensor:
    changed = value.clone()
    changed[:, which] = changed[:, which] * factor + added
    return changed


def _mixed(value: Tensor, count: int, lay: int) -> Tensor:
    """Examples mixed by one orthogonal matrix; where each owns several rows these lie in blocks (0) or together (1)."""
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(count, count, generator=generator))[0].to(value).contiguous()
    each = torch.eye(len(value) // count).to(value).contiguous()
    matrix = torch.kron(each, turn) if lay == 0 else torch.kron(turn, each)
    return (matrix @ value.flatten(1)).reshape(value.shape)


def one_length(two: Twofold, group: list[Slot]) -> Place | None:
    """Where a division gives a tensor whose length as a whole does not depend on the outputs, though its rows' does."""
    generator = torch.Generator().manual_seed(1)
    seen = []
    for _ in range(2):
        outputs = {slot: value.requires_grad_() for slot, value in drawn(two.tail, group, generator).items()}
        with noting({"div", "true_divide", "divide", "mul", "multiply", "normalize", "div_", "mul_"}) as used:
            two.tail(outputs)
        seen.append([(call.place, call.output.detach().double()) for call in used if _follows(call.output)])
    for (place, one), (_, other) in zip(*seen, strict=False):
        if one.shape == other.shape and any(_same_length(one, other, power) for power in (1, 2, torch.inf)):
            return place
    return None


def _follows(output: Any) -> bool:
    return isinstance(output, Tensor) and output.requires_grad and output.ndim >= 2 and min(output.shape[:2]) > 1


def _same_length(one: Tensor, other: Tensor, power: float) -> bool:
    whole = [float(value.flatten().norm(power)) for value in (one, other)]
    rows = torch.stack([value.flatten(1).norm(power, dim=1) for value in (one, other)])
    columns = torch.stack([value.transpose(0, 1).flatten(1).norm(power, dim=1) for value in (one, other)])
    vary = float(rows.std(1).min()) > 1e-2 * float(rows.mean()) and float(columns.std(1).min()) > 1e-2 * columns.mean()
    return abs(whole[0] - whole[1]) <= 1e-5 * whole[0] and bool(vary)


def batchwise_softmax(two: Twofold, slot: Slot) -> tuple[Place, tuple[int, ...]] | None:
    """The softmax that runs over examples, (place, shape of what it got), where the loss shows that it is so."""
    generator = torch.Generator().manual_seed(2)
    outputs = {slot: value.requires_grad_() for slot, value in drawn(two.tail, [slot], generator).items()}
    smaller = {slot: value.requires_grad_() for slot, value in drawn(two.less, [slot], generator).items()}
    with noting({"softmax", "log_softmax"}) as used:
        base = float(two.tail(outputs).detach())
    with noting({"softmax", "log_softmax"}) as fewer:
        two.less(smaller)
    moved = _moved(two, drawn(two.tail, [slot], generator), drawn(two.tail, [slot], generator), [slot])
    shifted = abs(loss_at(two.tail, {slot: _column(outputs[slot].detach(), 0, 1.0, 1.0)}) - base)
    for call, less in zip(used, fewer, strict=False):
        given, other = argument(call, 0, "input"), argument(less, 0, "input")
        dim = argument(call, 1, "dim")
        if not (isinstance(given, Tensor) and given.requires_grad and given.ndim == 2 and dim in (0, -2)):
            continue
        follows = len(given) * (two.count - 2) == len(other) * two.count and given.shape[1] == other.shape[1]
        if follows and given.shape[1] > 1 and shifted <= 1e-5 * max(1.0, abs(base)) and moved["row"] > OTHER:
            return call.place, tuple(given.shape)
    return None


def written_in(model: nn.Module, place: Place) -> bool:
    """Whether a line stands in the class of one of the model's modules."""
    for kind in {type(module) for module in model.modules()}:
        try:
            lines, first = inspect.getsourcelines(kind)
            file = inspect.getsourcefile(kind)
        except (TypeError, OSError):
            continue
        if file == place.file and first <= place.line < first + len(lines):
            return True
    return False
