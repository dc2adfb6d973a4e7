"""Swapping: one component of a program is replaced by one that is known to be good, and the fit is tried again.

Where a swap lets a frozen batch be fitted that could not be fitted before, on two different batches, the cause lies in
what was swapped out. This is the bisection that people do by hand for weeks, made of runs of some seconds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from selfsight.case import Case, Failed, Trial
from selfsight.check import Component
from selfsight.instruments.calls import Slot, listening, slots_of, weighted
from selfsight.instruments.clock import Allowance
from selfsight.instruments.fit import RATES, Fit, StandIn, best_of, fitting
from selfsight.instruments.functions import SHARPENED, ending, sharpened, without_activations
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.reach import Reach, Unreachable, reach
from selfsight.instruments.snapshot import Snapshot

STEPS = 200
"""Steps of one fit; a clean small network fits eight frozen examples in some dozens."""
SECONDS = 6.0
"""Longest time of one fit."""
HOPELESS = 60
"""Steps after which a swap whose progress has not moved by 0.05 is given up."""
STUCK = 0.25
"""Progress below which a program is called stuck: what comes further does learn, slowly perhaps."""
TEMPERATURE, SHARPER = 0.2, 10.0


@dataclass(frozen=True)
class Swap:
    """One line of the table: what was swapped out, and how far two frozen batches then came."""

    component: Component | None
    """None where nothing was swapped."""
    what: str
    """In words: "plain loop and Adam"."""
    fits: tuple[Fit, ...]
    cause: str = ""
    """What is wrong where this swap helps, if it can be told more closely than the component."""

    @property
    def restored(self) -> bool:
        return bool(self.fits) and all(fit.fitted for fit in self.fits)

    @property
    def progress(self) -> float:
        """The worse of the two batches."""
        return min((fit.best for fit in self.fits), default=float("nan"))


class Untried(Exception):
    """Why a swap could not be made here."""


def own(case: Case) -> Swap:
    """The program as it is."""

    def fit(batch: Any) -> Fit:
        trial = case.begin()
        return _fit(case, batch, trial.model, lambda: case.step(trial, batch), _scale(case, batch))

    return _row(case, "own", None, "nothing", fit)


def table(case: Case) -> list[Swap]:
    """The program as it is, then swap after swap until one restores the fit on both batches."""
    rows = [own(case)]
    if rows[0].restored:
        return rows
    loops = [plain] if case.program.step is None else [plain_loop, adam, plain]
    for swaps in (loops, [bare], [sharp], [noise], [known_loss, stand_in]):
        rows += [row for row in (_tried(swap, case) for swap in swaps) if row]
        if any(row.restored for row in rows):
            break
    return rows


def restoring(case: Case, component: Component, allowed: Allowance) -> Swap | None:
    """The first swap of this component that restores the fit, or what came furthest of those begun in time, if any."""
    swaps: dict[Component, list[Callable[[Case], Swap]]] = {
        "loop": [plain_loop, plain],
        "optimizer": [adam, plain],
        "loss": [bare, sharp, known_loss],
        "labels": [noise],
        "data": [noise],
        "model": [stand_in],
        "teacher": [known_loss],
    }
    best: Swap | None = None
    for swap in swaps[component]:
        if allowed.over:
            break
        row = _tried(swap, case)
        if row and row.restored:
            return row
        if row and (best is None or row.progress > best.progress):
            best = row
    return best


def _tried(swap: Callable[[Case], Swap], case: Case) -> Swap | None:
    try:
        return swap(case)
    except (Untried, Failed, Unreachable, RuntimeError, ValueError, IndexError):  # what cannot be put together here
        return None


def plain(case: Case) -> Swap:
    """Loop and optimizer: zero_grad, the program's loss, backward, step, with Adam over everything trainable."""

    def fit(batch: Any) -> Fit:
        def one(rate: float) -> Fit:
            model = case.model()
            return _descend(case, batch, model, case.loss, _scale(case, batch), _adam(model, rate))

        return best_of(one(rate) for rate in RATES)

    component: Component = "optimizer" if case.program.step is None else "loop"
    return _row(case, "plain", component, "plain loop and Adam", fit)


def plain_loop(case: Case) -> Swap:
    """The loop alone: the program's optimizer, a plain step."""

    def fit(batch: Any) -> Fit:
        trial = case.begin()
        return _descend(case, batch, trial.model, case.loss, _scale(case, batch), trial.optimizer)

    return _row(case, "plain_loop", "loop", "plain loop", fit)


def adam(case: Case) -> Swap:
    """The optimizer alone: the program's step, with Adam over everything trainable."""

    def fit(batch: Any) -> Fit:
        def one(rate: float) -> Fit:
            model = case.model()
            trial = Trial(model, _adam(model, rate))
            return _fit(case, batch, model, lambda: case.step(trial, batch), _scale(case, batch))

        return best_of(one(rate) for rate in RATES)

    return _row(case, "adam", "optimizer", "Adam", fit)


def bare(case: Case) -> Swap:
    """The last activation: left out, everything else the program's own but for a plain loop."""
    loss = bare_loss(case)

    def fit(batch: Any) -> Fit:
        found, _ = reach(lambda model, given: loss(model, given, 0), case.model(), batch)
        return best_of(_fresh(case, batch, loss, found))

    return _row(case, "bare", "loss", "no activation before the loss", fit, cause="loss-activation-mismatch")


def bare_loss(case: Case) -> Callable[[nn.Module, Any, int | None], Tensor]:
    """The program's loss with its last activation left out. Raises Untried where there is none."""
    scale = case.scale
    if isinstance(scale, Unreachable) or scale.bare is None:
        raise Untried("there is no activation between the last weights and the loss")

    def loss(model: nn.Module, batch: Any, seed: int | None = 0) -> Tensor:
        with ending(last_modules(case, model, batch), without_activations()):
            return case.loss(model, batch, seed)

    return loss


def sharp(case: Case) -> Swap:
    """The temperature: logits ten times as large before the loss sees them."""

    def loss(model: nn.Module, batch: Any, seed: int = 0) -> Tensor:
        with ending(last_modules(case, model, batch), sharpened(SHARPER)):
            return case.loss(model, batch, seed)

    def fit(batch: Any) -> Fit:
        found, tail = reach(lambda model, given: loss(model, given, 0), case.model(), batch)
        if not any(used.name in SHARPENED for used in tail.used):
            raise Untried("the loss takes no logits")
        return best_of(_fresh(case, batch, loss, found))

    return _row(case, "sharp", "loss", "logits ten times as large", fit, cause="temperature")


def known_loss(case: Case) -> Swap:
    """The loss: the outputs of the last weights go into a textbook loss that suits the targets."""

    def fit(batch: Any) -> Fit:
        loss = textbook(case, batch)
        found, _ = reach(lambda model, given: loss(model, given, 0), case.model(), batch)
        return best_of(_fresh(case, batch, loss, found))

    return _row(case, "known_loss", "loss", "a textbook loss on the last outputs", fit)


def noise(case: Case) -> Swap:
    """The data: what enters the model becomes noise that differs from example to example."""

    def fit(batch: Any) -> Fit:
        planted = noisy(case, batch)
        return best_of(_fresh(case, planted, case.loss, _scale(case, planted)))

    return _row(case, "noise", "data", "inputs that differ (noise)", fit)


def stand_in(case: Case) -> Swap:
    """The model: two plain layers from what enters it to its last outputs, through the program's own loss."""

    def fit(batch: Any) -> Fit:
        found, tail = case.scaled(batch)
        if isinstance(found, Unreachable) or isinstance(tail, Unreachable):
            raise Untried(str(found))
        torch.manual_seed(0)
        net = StandIn(tail)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)

        def step() -> None:
            optimizer.zero_grad()
            net.loss().backward()
            optimizer.step()

        return fitting(step, lambda: float(net.loss().detach()), found.progress, STEPS, SECONDS)

    return _row(case, "stand_in", "model", "a plain two-layer network", fit)


# ---------------------------------------------------------------------------------------------------------- the parts


def textbook(case: Case, batch: Any) -> Callable[..., Tensor]:
    """A loss that suits what the batch holds beside the inputs. Raises Untried where nothing suits."""
    slots = list(_frontier(case, batch).items())
    entered = entering(case, batch)
    targets = {path: leaf for path, leaf in leaves(batch).items() if path not in entered}
    for slot, output in slots:
        for path, target in targets.items():
            if not target.ndim or len(target) != len(output):
                continue
            if names_columns(target, output):
                return _judged(case, slot, lambda out, given, at=path: cross_entropy(out, leaves(given)[at].long()))  # type: ignore[misc]
            if target.numel() == output.numel():
                return _judged(case, slot, lambda out, given, at=path: squares(out, leaves(given)[at]))  # type: ignore[misc]
    if case.program.views is not None:
        return _judged_pairs(case, [slot for slot, output in slots if output.ndim == 2])
    raise Untried("no target of a known kind")


def names_columns(target: Tensor, output: Tensor) -> bool:
    """Whether a target numbers the columns of an output."""
    if target.is_floating_point() or target.ndim != 1 or output.ndim != 2 or output.shape[1] < 2:
        return False
    return int(target.min()) >= 0 and int(target.max()) < output.shape[1]


def squares(output: Tensor, target: Tensor) -> Tensor:
    """The mean squared error, whatever the shapes."""
    return mse_loss(output.flatten(), target.flatten().to(output.dtype))


def _judged(case: Case, slot: Slot, criterion: Callable[[Tensor, Any], Tensor]) -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Any, seed: int = 0) -> Tensor:
        with listening(model) as calls:
            case.loss(model, batch, seed)
        return criterion(slots_of(model, calls)[slot], batch)

    return loss


def _judged_pairs(case: Case, slots: list[Slot]) -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Any, seed: int = 0) -> Tensor:
        with listening(model) as calls:
            case.loss(model, batch, seed)
        said = slots_of(model, calls)
        z = normalize(torch.cat([said[slot] for slot in slots[:2]]), dim=1)
        logits = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        return cross_entropy(logits, (torch.arange(len(z)) + len(z) // 2) % len(z))

    return loss


def noisy(case: Case, batch: Any) -> Any:
    """The batch with everything that enters the model replaced by noise of the same mean and spread."""
    drawn = torch.Generator().manual_seed(1)
    entered = {path: leaf for path, leaf in entering(case, batch).items() if leaf.is_floating_point()}
    if not entered:
        raise Untried("no floating-point tensor of the batch enters the model as it is")
    changes = {}
    for path, leaf in entered.items():
        spread = leaf.float().std(correction=0)
        random = torch.randn(leaf.shape, generator=drawn).to(leaf)
        changes[path] = leaf.float().mean().to(leaf) + random * (spread if spread > 0 else torch.ones(())).to(leaf)
    return rebuilt(batch, changes)


def entering(case: Case, batch: Any) -> dict[str, Tensor]:
    """The leaves of a batch that enter the model, by path: those of which a call's input holds the very values."""
    model = case.model()
    before = Snapshot(model)
    with listening(model, keep=True) as calls:
        case.loss(model, batch)
    before.restore()
    inputs = [tensor for call in calls if call.depth == 0 for tensor in leaves(call.inputs).values()]
    return {path: leaf for path, leaf in leaves(batch).items() if any(_holds(tensor, leaf) for tensor in inputs)}


def _holds(tensor: Tensor, leaf: Tensor) -> bool:
    """Whether a leaf, or its first example, is somewhere among the rows of a tensor."""
    if not leaf.ndim or not tensor.ndim or not tensor.numel() or not leaf.numel():
        return False
    one = leaf[0].flatten().to(tensor.dtype)
    flat = tensor.flatten()
    if one.numel() < 2:
        return tensor.shape == leaf.shape and bool(torch.equal(tensor, leaf.to(tensor.dtype)))
    return flat.numel() >= one.numel() and flat.numel() % one.numel() == 0 and _is_row(flat.view(-1, one.numel()), one)


def _is_row(matrix: Tensor, row: Tensor) -> bool:
    return bool((matrix == row).all(1).any())


def last_modules(case: Case, model: nn.Module, batch: Any) -> list[nn.Module]:
    """The modules of a model whose outputs reach the loss without passing other weights. Raises Untried."""
    names = {slot.module for slot in _frontier(case, batch)}
    return [module for name, module in weighted(model).items() if name in names]


def _frontier(case: Case, batch: Any) -> dict[Slot, Tensor]:
    tail = case.scaled(batch)[1]
    if isinstance(tail, Unreachable):
        raise Untried(str(tail))
    return tail.slots


def _scale(case: Case, batch: Any) -> Reach:
    found = case.scaled(batch)[0]
    if isinstance(found, Unreachable):
        raise found
    if not found.wide or found.free.endless:
        raise Untried("the loss gives no scale to measure progress on")
    return found


def _adam(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise Untried("no parameter is trainable")
    return torch.optim.Adam(parameters, rate)


def _fresh(case: Case, batch: Any, loss: Callable[..., Tensor], scale: Reach) -> Iterator[Fit]:
    """Fits of fresh models with each of Adam's rates, each given up where nothing moves."""
    for rate in RATES:
        model = case.model()
        yield _descend(case, batch, model, loss, scale, _adam(model, rate))


def _descend(
    case: Case, batch: Any, model: nn.Module, loss: Callable[..., Tensor], scale: Reach, optimizer: Any
) -> Fit:
    def step() -> None:
        optimizer.zero_grad()
        loss(model, batch, 0).backward()
        optimizer.step()

    def value() -> float:
        before = Snapshot(model)
        with torch.no_grad():
            now = float(loss(model, batch, 0))
        before.restore()
        return now

    return fitting(step, value, scale.progress, STEPS, SECONDS, hopeless=HOPELESS)


def _fit(case: Case, batch: Any, model: nn.Module, step: Callable[[], Any], scale: Reach) -> Fit:
    return fitting(step, lambda: case.value(model, batch), scale.progress, STEPS, SECONDS)


def _row(
    case: Case, key: str, component: Component | None, what: str, fit: Callable[[Any], Fit], cause: str = ""
) -> Swap:
    """Both frozen batches, the second only where the first was fitted; kept for whoever asks again."""

    def make() -> Swap:
        first = fit(case.batch)
        if component is not None and not first.fitted:
            return Swap(component, what, (first,), cause)
        return Swap(component, what, (first, fit(case.other)), cause)

    return case.remembered(("swap", key), make)
