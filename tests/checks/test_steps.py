"""Whose gradient a step takes, and of which batch: every cause fires on the mistake as people write it, and healthy oddities stay silent."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from moving import alarms, asked, plain
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import Subset

from selfsight.checks.faded_rate import FadedRate
from selfsight.checks.other_rate import OtherRate
from selfsight.checks.same_batch import SameBatch
from selfsight.planted import Net, Quarters, batches, loss, tiny
from selfsight.program import Program

# -------------------------------------------------------------------------------------- T501: whose gradient is it


def forgets(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    loss(model, batch).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def too_early(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    value = loss(model, batch)
    optimizer.zero_grad()
    optimizer.step()
    value.backward()


def clears_between(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    loss(model, batch).backward()
    optimizer.zero_grad()
    optimizer.step()


def never(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    loss(model, batch).backward()


@pytest.mark.parametrize(
    ("step", "cause"),
    [(forgets, "no-zero-grad"), (too_early, "step-before-backward"), (clears_between, "no-step"), (never, "no-step")],
)
def test_gradients_out_of_order(step: Any, cause: str) -> None:
    assert alarms(tiny(step=step)) == [("loop", cause)]


def accumulating(every: int) -> Program:
    seen = Counter[int]()

    def step(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
        (loss(model, batch) / every).backward()
        seen[id(optimizer)] += 1
        if seen[id(optimizer)] % every == 0:
            optimizer.step()
            optimizer.zero_grad()

    return tiny(step=step)


class Counting(SGD):
    """Accumulation inside the optimizer: it is called for each batch, and steps and clears at every eighth call."""

    calls = 0

    def step(self, closure: Any = None) -> None:
        self.calls += 1
        if self.calls % 8 == 0:
            super().step()
            super().zero_grad()

    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


def rotated(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    """The loop begun elsewhere: the step that a gradient was made for comes first in the next call."""
    optimizer.step()
    optimizer.zero_grad()
    loss(model, batch).backward()


def by_hand(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss(model, batch), parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def sharpness_aware(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    loss(model, batch).backward()
    before = [(p, p.detach().clone()) for p in model.parameters()]
    with torch.no_grad():
        for p, _ in before:
            if p.grad is not None:
                p.add_(0.01 * p.grad.sign())
    optimizer.zero_grad()
    loss(model, batch).backward()
    with torch.no_grad():
        for p, value in before:
            p.copy_(value)
    optimizer.step()
    optimizer.zero_grad()


def with_closure(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        return value

    optimizer.step(closure)


def adversaries() -> Program:
    """Two players: the gradient that the first's loss leaves in the second is cleared before the second steps."""
    others: dict[int, Optimizer] = {}

    def step(model: Any, optimizer: Optimizer, batch: Any) -> None:
        second = others.setdefault(id(model), SGD(model.encoder.parameters(), 0.01))
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
        second.zero_grad()
        (-0.1 * loss(model, batch)).backward()
        second.step()

    return tiny(step=step, optimizer=lambda net: SGD(net.head.parameters(), 0.05))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(accumulating(8), id="accumulates"),
        pytest.param(accumulating(40), id="accumulates long"),
        pytest.param(tiny(optimizer=lambda net: Counting(net.parameters(), 0.05)), id="accumulates inside"),
        pytest.param(tiny(step=rotated), id="rotated"),
        pytest.param(tiny(step=by_hand), id="by hand"),
        pytest.param(tiny(step=sharpness_aware), id="sharpness-aware"),
        pytest.param(tiny(step=with_closure), id="closure"),
        pytest.param(tiny(step=with_closure, optimizer=lambda net: torch.optim.LBFGS(net.parameters(), 0.1)), id="LBFGS"),
        pytest.param(adversaries(), id="adversaries"),
    ],
)  # fmt: skip
def test_gradients_in_order(program: Program) -> None:
    assert alarms(program) == []


# ------------------------------------------------------------------------------------- T502: same batch, same model


class Noisy(Quarters):
    """Draws noise at each access, so that no two batches are the same bit for bit."""

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        picture, label = super().__getitem__(i)
        return picture + 0.1 * torch.randn_like(picture), label


def first_forever(data: Any) -> Callable[[], Iterator[Any]]:
    loader = torch.utils.data.DataLoader(data, batch_size=16)

    def passes() -> Iterator[Any]:
        for _ in range(len(loader)):
            yield next(iter(loader))

    return passes


def own_batch(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    plain(model, optimizer, next(iter(torch.utils.data.DataLoader(Quarters(), batch_size=16))))


def own_random_batch(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    plain(model, optimizer, next(iter(batches())))


def initialises(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # type: ignore[operator]


def builds_anew(model: Any, optimizer: Optimizer, epoch: int) -> None:
    model.head = Net().head


def initialises_otherwise(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
    torch.manual_seed(epoch)
    initialises(model, optimizer, epoch)


def keeps_the_best(model: Any, optimizer: Optimizer, epoch: int) -> None:
    """The weights of the epoch that was best on data kept aside are put back where this one was worse."""
    with torch.no_grad():
        now = float(loss(model, next(iter(batches(Quarters())))))
    best = model.__dict__.setdefault("best", (now, copy.deepcopy(model.state_dict())))
    if now > best[0]:
        model.load_state_dict(best[1])
    else:
        model.__dict__["best"] = (now, copy.deepcopy(model.state_dict()))


def averages(model: Any, optimizer: Optimizer, epoch: int) -> None:
    """Lookahead: half of the way back to where the last epoch ended."""
    slow = model.__dict__.setdefault("slow", [p.detach().clone() for p in model.parameters()])
    with torch.no_grad():
        for p, s in zip(model.parameters(), slow, strict=True):
            p.lerp_(s, 0.5)
            s.copy_(p)


def reloading() -> Program:
    saved: dict[str, Any] = {}

    def build() -> nn.Module:
        net = Net()
        saved["best"] = copy.deepcopy(net.state_dict())
        return net

    return tiny(
        model=build, between_epochs=lambda model, optimizer, epoch: model.load_state_dict(saved["best"]) and None
    )


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (tiny(batches=first_forever(Quarters())), "one-batch-forever"),
        (tiny(batches=first_forever(data := Noisy()), dataset=data), "one-batch-forever"),
        (tiny(batches=first_forever(part := Subset(Noisy(), range(48))), dataset=part), "one-batch-forever"),
        (tiny(step=own_batch), "one-batch-forever"),
        (tiny(between_epochs=initialises), "model-rebuilt"),
        (tiny(between_epochs=initialises_otherwise), "model-rebuilt"),
        (tiny(between_epochs=builds_anew), "model-rebuilt"),
        (reloading(), "model-rebuilt"),
    ],
)  # fmt: skip
def test_again_and_again(program: Program, cause: str) -> None:
    assert alarms(program, SameBatch()) == [("loop", cause)]


def whole(times: int) -> Callable[[], list[Any]]:
    data = Quarters()
    return lambda: [(data.pictures, data.labels)] * times


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(tiny(batches=whole(20), dataset=Quarters()), id="full batch"),
        pytest.param(tiny(batches=whole(1)), id="one batch is all"),
        pytest.param(tiny(step=own_random_batch), id="draws its own"),
        pytest.param(tiny(batches=lambda: batches(Noisy()), dataset=Noisy()), id="noisy"),
        pytest.param(tiny(between_epochs=averages), id="lookahead"),
        pytest.param(tiny(between_epochs=keeps_the_best), id="keeps the best"),
    ],
)  # fmt: skip
def test_other_batches(program: Program) -> None:
    assert alarms(program) == []


def test_listening_leaves_no_trace() -> None:
    before = Noisy.__dict__["__getitem__"]
    asked(tiny(batches=first_forever(data := Noisy()), dataset=data), SameBatch())
    assert Noisy.__dict__["__getitem__"] is before


# ------------------------------------------------------------------------------------------ O404: rates that fade


def fading(share: float) -> Callable[..., None]:
    def step(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
        plain(model, optimizer, batch)
        for group in optimizer.param_groups:
            group["lr"] *= share

    return step


def many() -> Any:
    return batches(Quarters(400))


def slowly(rate: float) -> Callable[[nn.Module], Optimizer]:
    return lambda net: torch.optim.Adam(net.parameters(), rate)


@pytest.mark.parametrize(
    ("program", "causes"),
    [
        (tiny(step=fading(0.75), optimizer=slowly(3e-3), batches=many, planned_steps=100), ["rate-fades"]),
        (tiny(step=fading(0.97), optimizer=slowly(3e-3), batches=many, planned_steps=100), []),
        (tiny(step=fading(0.9), optimizer=slowly(3e-2), batches=many, planned_steps=200), []),
        (tiny(step=plain, optimizer=slowly(3e-3), batches=many, planned_steps=100), []),
    ],
    ids=["gone at once", "gone at the end", "gone when all is learned", "constant"],
)
def test_rates_that_fade(program: Program, causes: list[str]) -> None:
    assert [finding.cause for finding in asked(program, FadedRate())] == causes


@pytest.mark.parametrize(("decay", "causes"), [(3.0, ["weight-decay"]), (1e-2, [])])
def test_too_much_weight_decay(decay: float, causes: list[str]) -> None:
    def held_down(net: nn.Module) -> Optimizer:
        return torch.optim.Adam(net.parameters(), 3e-3, weight_decay=decay)

    assert [finding.cause for finding in asked(tiny(optimizer=held_down, batches=many), OtherRate())] == causes
