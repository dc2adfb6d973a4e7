"""Who moves in a program's own steps, and how far: every cause fires on the mistake as people write it, and healthy oddities stay silent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from moving import CHECKS, adam, alarms, asked, plain
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from selfsight.check import Check, Grade
from selfsight.checks.step_size import StepSize
from selfsight.checks.who_moves import WhoMoves
from selfsight.planted import Net, tiny
from selfsight.program import Program


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_planted(check: Check) -> None:
    sick, well = check.planted()
    assert asked(sick, check)
    assert not asked(well, check)
    assert set(type(check).explained()) >= {"Detected", "Matters", "Cure", "Blind"}


# ---------------------------------------------------------------------------------------- O401: who should move, who does


class InList(nn.Module):
    """Layers in a Python list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class Detached(Net):
    """The encoder runs without gradients, though the optimizer is to train it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.encoder(x)
        return self.head(h)


def head_replaced(net: Any) -> Optimizer:
    optimizer = Adam(net.parameters(), 3e-3)
    net.head = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    return optimizer


def frozen_net() -> Net:
    net = Net()
    net.encoder.requires_grad_(False)
    return net


def unfreeze_at(epoch_wanted: int) -> Callable[..., None]:
    def between(model: Any, optimizer: Optimizer, epoch: int) -> None:
        if epoch == epoch_wanted:
            for parameter in model.encoder.parameters():
                parameter.requires_grad = True

    return between


def late(steps: int = 12, when: int = 50, optimizer: Any = adam) -> Program:
    """Three epochs of four steps, a frozen encoder that is to be thawed."""
    return tiny(model=frozen_net, between_epochs=unfreeze_at(when), planned_steps=steps, optimizer=optimizer)


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (tiny(optimizer=lambda net: Adam(net.encoder.parameters(), 3e-3)), ("optimizer", "not-in-optimizer")),
        (tiny(optimizer=lambda net: Adam(net.head.parameters(), 3e-3)), ("optimizer", "not-in-optimizer")),
        (tiny(optimizer=head_replaced), ("optimizer", "stale-parameters")),
        (tiny(model=InList), ("model", "hidden-parameters")),
        (tiny(model=Detached), ("model", "detached")),
        (late(), ("optimizer", "never-unfreezes")),
        (late(when=1, optimizer=lambda net: Adam([p for p in net.parameters() if p.requires_grad])), ("optimizer", "never-unfreezes")),
    ],
)  # fmt: skip
def test_who_does_not_move(program: Program, cause: tuple[str, str]) -> None:
    assert alarms(program) == [cause]


def test_place_names_the_part() -> None:
    (finding,) = asked(tiny(model=InList), WhoMoves())
    assert finding.place.name == "layers"
    assert finding.evidence["tensors"] == 4


def trained() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net().state_dict()


class Loaded(Net):
    """A pretrained encoder, and a head that is drawn."""

    def __init__(self) -> None:
        super().__init__()
        weights = {name: value for name, value in trained().items() if name.startswith("encoder")}
        self.load_state_dict(weights, strict=False)


class LoadedDetached(Loaded):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).detach())


class HiddenTeacher(Net):
    """A frozen net in a list, so that no parameter list knows it, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = [nn.Linear(3, 3).requires_grad_(False)]

    def forward(self, x: Tensor) -> Tensor:
        return self.judge[0](super().forward(x)) + super().forward(x)


class Unused(Net):
    """A mask token and a head that this stage does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(64))
        self.rotations = nn.Linear(64, 4)


class ZeroInit(Net):
    """A branch that begins switched off: its weights get a gradient of 0 at the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.scale = nn.Linear(64, 64), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(h + self.scale * self.branch(h))


def joins_later(model: Any, optimizer: Optimizer, epoch: int) -> None:
    if epoch == 1:
        optimizer.add_param_group({"params": list(model.encoder.parameters())})


def learned_temperature() -> Program:
    temperature = nn.Parameter(torch.zeros(()))

    def scaled(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(model(batch[0]) * temperature.exp(), batch[1])

    return tiny(loss=scaled, optimizer=lambda net: Adam([*net.parameters(), temperature], 3e-3))


def counts_trainable(model: nn.Module, optimizer: Optimizer, epoch: int) -> None:
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))


def probes_between(model: Any, optimizer: Optimizer, epoch: int) -> None:
    model.head.requires_grad_(False)
    model.head.requires_grad_(True)


def two_optimizers() -> Program:
    """Each optimizer holds one half; only the step knows both."""
    others: dict[int, Optimizer] = {}

    def step(model: Any, optimizer: Optimizer, batch: Any) -> None:
        other = others.setdefault(id(model), SGD(model.encoder.parameters(), 0.05))
        other.zero_grad()
        plain(model, optimizer, batch)
        other.step()

    return tiny(step=step, optimizer=lambda net: SGD(net.head.parameters(), 0.05))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(tiny(model=frozen_net), id="frozen"),
        pytest.param(tiny(model=Loaded, optimizer=lambda net: SGD(net.head.parameters(), 1.0)), id="probe of loaded weights"),
        pytest.param(tiny(model=LoadedDetached), id="probe without gradients"),
        pytest.param(tiny(model=HiddenTeacher), id="hidden on purpose"),
        pytest.param(tiny(model=Unused), id="unused"),
        pytest.param(tiny(model=ZeroInit), id="zero init"),
        pytest.param(
            tiny(optimizer=lambda net: Adam(net.head.parameters()), between_epochs=joins_later, planned_steps=20), id="joins later"
        ),
        pytest.param(learned_temperature(), id="learned temperature"),
        pytest.param(late(when=1), id="unfreezes in time"),
        pytest.param(tiny(model=frozen_net, between_epochs=counts_trainable, planned_steps=12), id="counts"),
        pytest.param(tiny(model=frozen_net, between_epochs=probes_between, planned_steps=12), id="probes between"),
        pytest.param(two_optimizers(), id="two optimizers"),
    ],
)  # fmt: skip
def test_meant_to_stay(program: Program) -> None:
    assert alarms(program) == []


# ------------------------------------------------------------------------------------------------- O402: did it land


def decaying(epochs: int, rate: float = 0.05) -> Callable[[nn.Module], Optimizer]:
    def optimizer(net: nn.Module) -> Optimizer:
        made = SGD(net.parameters(), rate)
        made.schedule = LambdaLR(made, lambda epoch: max(0.0, 1 - epoch / epochs))  # type: ignore[attr-defined]
        return made

    return optimizer


def scheduled(model: nn.Module, optimizer: Any, batch: Any) -> None:
    plain(model, optimizer, batch)
    optimizer.schedule.step()


def put_back(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
    best = copy.deepcopy(model.state_dict())
    plain(model, optimizer, batch)
    model.load_state_dict(best)


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3)).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.bfloat16()).float()


class Master(Adam):
    """Keeps float32 weights beside those of the net, as half-precision training does."""

    def __init__(self, parameters: Any, rate: float) -> None:
        self.outer = list(parameters)
        self.inner = [p.detach().float() for p in self.outer]
        super().__init__(self.outer, rate)
        self.second = Adam(self.inner, rate)

    def step(self, closure: Any = None) -> None:
        for wide, narrow in zip(self.inner, self.outer, strict=True):
            wide.grad = narrow.grad.to(wide.dtype) if narrow.grad is not None else None
        self.second.step()
        with torch.no_grad():
            for wide, narrow in zip(self.inner, self.outer, strict=True):
                narrow.copy_(wide)


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (tiny(step=scheduled, optimizer=decaying(10), planned_steps=120), ("optimizer", "rate-zero")),
        (
            tiny(
                optimizer=lambda net: SGD(net.parameters(), 0.05),
                between_epochs=lambda model, optimizer, epoch: optimizer.param_groups[0].update(lr=max(0.0, 0.05 * (2 - epoch))),
                planned_steps=60,
            ),
            ("optimizer", "rate-zero"),
        ),
        (tiny(step=put_back), ("loop", "no-step")),
        (tiny(model=Half, optimizer=lambda net: Adam(net.parameters(), 3e-5)), ("optimizer", "lost-updates")),
    ],
)  # fmt: skip
def test_steps_that_do_not_land(program: Program, cause: tuple[str, str]) -> None:
    assert alarms(program) == [cause]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(tiny(step=scheduled, optimizer=decaying(120), planned_steps=120), id="ends at 0"),
        pytest.param(tiny(model=Half, optimizer=lambda net: Adam(net.parameters(), 3e-3)), id="bfloat16 at a fitting rate"),
        pytest.param(tiny(model=Half, optimizer=lambda net: Master(net.parameters(), 3e-5)), id="master weights"),
        pytest.param(tiny(optimizer=lambda net: Adam(net.parameters(), 1e-6)), id="a small rate"),
    ],
)  # fmt: skip
def test_steps_that_land(program: Program) -> None:
    assert alarms(program) == []


# --------------------------------------------------------------------------------------------------- O403: how far


def sgd(rate: float) -> Callable[[nn.Module], Optimizer]:
    return lambda net: SGD(net.parameters(), rate)


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (tiny(optimizer=lambda net: Adam(net.parameters(), 10.0)), "rate-too-large"),
        (tiny(optimizer=lambda net: Adam(net.parameters(), 3e-7), planned_steps=200), "rate-too-small"),
        (tiny(optimizer=sgd(1e-5)), "rate-too-small"),
    ],
)  # fmt: skip
def test_rates_that_do_not_suit(program: Program, cause: str) -> None:
    (finding,) = [finding for finding in asked(program, StepSize()) if finding.alarms]
    assert (finding.grade, finding.component, finding.cause) == (Grade.MEASURED, "optimizer", cause)
    assert 0 < float(finding.evidence["better_rate"]) < 10  # type: ignore[arg-type]


def far_away(model: nn.Module, batch: Any) -> Tensor:
    """Features are a thousandth of what others are, so that a rate a thousand times as large suits."""
    return cross_entropy(model.head(1e-3 * model.encoder(batch[0])), batch[1])  # type: ignore[operator]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(tiny(model=lambda: _loaded(), optimizer=sgd(1e-7), planned_steps=20), id="polishes loaded weights"),
        pytest.param(tiny(optimizer=lambda net: Adam(net.parameters(), 1e-5), planned_steps=100_000), id="slow and long"),
        pytest.param(tiny(loss=far_away, optimizer=sgd(30.0)), id="rate 30"),
    ],
)  # fmt: skip
def test_rates_that_suit(program: Program) -> None:
    assert alarms(program, StepSize()) == []


def _loaded() -> Net:
    net = Net()
    net.load_state_dict(trained())
    return net
