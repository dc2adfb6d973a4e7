"""What moves in a program's own steps: every cause fires on the mistake as people write it, and healthy oddities stay silent."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Subset

from selfsight.case import examining
from selfsight.check import Check, DoesNotApply, Finding, Grade
from selfsight.checks.downhill import Downhill
from selfsight.checks.gradient_accounting import GradientAccounting
from selfsight.checks.same_batch import SameBatch
from selfsight.checks.step_landed import StepLanded
from selfsight.checks.step_size import StepSize
from selfsight.checks.teacher import Teacher
from selfsight.checks.term_balance import TermBalance
from selfsight.checks.who_moves import WhoMoves
from selfsight.planted import Net, Quarters, batches, loss, tiny
from selfsight.program import Program

CHECKS: tuple[Check, ...] = (
    WhoMoves(), StepLanded(), StepSize(), GradientAccounting(), SameBatch(), Teacher(), Downhill(), TermBalance(),
)  # fmt: skip
QUICK = tuple(check for check in CHECKS if check.quick)


def asked(program: Program, *checks: Check) -> list[Finding]:
    """The findings of the checks that apply."""
    found: list[Finding] = []
    with examining(program) as case:
        for check in checks:
            if all(case.has(name) for name in check.needs):
                found += _looked(check, case)
    return found


def _looked(check: Check, case: Any) -> list[Finding]:
    try:
        return list(check.look(case))
    except DoesNotApply:
        return []


def alarms(program: Program, *checks: Check) -> list[tuple[str, str]]:
    """(component, cause) of each alarm of the checks, all quick ones where none is named."""
    return [(finding.component, finding.cause) for finding in asked(program, *(checks or QUICK)) if finding.alarms]


def adam(net: nn.Module) -> Optimizer:
    return Adam(net.parameters(), 3e-3)


def plain(model: nn.Module, optimizer: Optimizer, batch: Any) -> Tensor:
    optimizer.zero_grad()
    value = loss(model, batch)
    value.backward()
    optimizer.step()
    return value


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
    ],
)  # fmt: skip
def test_other_batches(program: Program) -> None:
    assert alarms(program) == []


def test_listening_leaves_no_trace() -> None:
    before = Noisy.__dict__["__getitem__"]
    asked(tiny(batches=first_forever(data := Noisy()), dataset=data), SameBatch())
    assert Noisy.__dict__["__getitem__"] is before


# ---------------------------------------------------------------------------------------------------- E601: the twin


class Student(nn.Module):
    """BYOL in small: a student, a predictor, and a twin of the student."""

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        self.predictor = nn.Linear(8, 8)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.momentum, self.done = momentum, 0

    def follow(self, only: str = "") -> None:
        self.done += 1
        with torch.no_grad():
            for (name, slow), fast in zip(self.target.named_parameters(), self.online.parameters(), strict=True):
                if only in name:
                    slow.mul_(self.momentum).add_(fast, alpha=1 - self.momentum)


class Alias(Student):
    def __init__(self) -> None:
        super().__init__()
        self.target = self.online
        self.online.requires_grad_(True)


class FrozenBody(Student):
    """The student's first layer stays, so that the twin's stays too."""

    def __init__(self) -> None:
        super().__init__()
        self.online[1].requires_grad_(False)


class OtherTeacher(Student):
    """A trained teacher, of the same build, that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.target = copy.deepcopy(Student().online).requires_grad_(False)


def similarity(model: Any, batch: Any, gradient: bool = False) -> Tensor:
    x = batch[0]
    one, other = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
    with torch.set_grad_enabled(gradient):
        wanted = model.target(other)
    return 1 - torch.cosine_similarity(model.predictor(model.online(one)), wanted).mean()


def byol(model: Any = Student, follow: Any = Student.follow, gradient: bool = False, **more: Any) -> Program:
    def step(net: Any, optimizer: Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        similarity(net, batch, gradient).backward()
        optimizer.step()
        follow(net)

    return tiny(
        model=model, loss=lambda net, batch: similarity(net, batch, gradient), step=step,
        teacher=lambda net: net.target, **more,
    )  # fmt: skip


def everything(net: nn.Module) -> Optimizer:
    return Adam(net.requires_grad_(True).parameters(), 3e-3)


def fading(net: Any) -> None:
    net.momentum = min(1.0, 0.9 + 0.1 * net.done / 6)
    net.follow()


@pytest.mark.parametrize(
    ("program", "causes"),
    [
        (byol(Alias), {("teacher", "teacher-is-student")}),
        (byol(follow=lambda net: None), {("teacher", "teacher-never-moves")}),
        (byol(follow=fading), {("teacher", "teacher-never-moves")}),
        (byol(follow=lambda net: net.follow("weight")), {("teacher", "teacher-partly-moves")}),
        (byol(follow=lambda net: net.follow("4")), {("teacher", "teacher-partly-moves")}),
        (byol(lambda: Student(1.2)), {("teacher", "teacher-runs-away")}),
        (byol(gradient=True, optimizer=everything), {("teacher", "teacher-gets-gradient"), ("optimizer", "teacher-in-optimizer")}),
    ],
)  # fmt: skip
def test_twins_that_do_not_follow(program: Program, causes: set[tuple[str, str]]) -> None:
    assert set(alarms(program)) == causes


def at_the_end(model: Any, optimizer: Optimizer, epoch: int) -> None:
    model.target.load_state_dict(model.online.state_dict())


def every_tenth(net: Any) -> None:
    net.done += 1
    if net.done % 10 == 0:
        net.target.load_state_dict(net.online.state_dict())


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(byol(), id="follows"),
        pytest.param(byol(optimizer=adam), id="in the optimizer, frozen"),
        pytest.param(byol(FrozenBody), id="frozen body"),
        pytest.param(byol(lambda: Student(0.9999)), id="slow"),
        pytest.param(byol(lambda: Student(0.0)), id="copies"),
        pytest.param(byol(OtherTeacher, follow=lambda net: None), id="a trained teacher"),
        pytest.param(byol(follow=every_tenth), id="every tenth step"),
        pytest.param(byol(follow=lambda net: None, between_epochs=at_the_end), id="at the end of epochs"),
    ],
)  # fmt: skip
def test_twins_that_follow(program: Program) -> None:
    assert alarms(program) == []


# --------------------------------------------------------------------------------------------- L304, L306: the gradient


def through_numpy(model: nn.Module, batch: Any) -> Tensor:
    logits = torch.tensor(model(batch[0]).detach().numpy(), requires_grad=True)
    return cross_entropy(logits, batch[1])


def no_graph(model: nn.Module, batch: Any) -> Tensor:
    return torch.tensor(float(loss(model, batch)))


@pytest.mark.parametrize("broken", [through_numpy, no_graph])
def test_cut_gradients(broken: Any) -> None:
    found = [finding for finding in asked(tiny(loss=broken), Downhill()) if finding.alarms]
    assert [(finding.grade, finding.cause) for finding in found] == [(Grade.PROVEN, "gradient-cut")]


class StraightThrough(Net):
    """The value is rounded, the gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(h + ((h * 2).round() / 2 - h).detach())


class Reversed(Net):
    """The encoder's gradient is turned around, as in adversarial adaptation."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(2 * h.detach() - h)


def constant(model: nn.Module, batch: Any) -> Tensor:
    """A hinge that rests at 0: no gradient, and nothing that changes with the weights."""
    return (loss(model, batch) - 1000).relu()


@pytest.mark.parametrize(
    "program",
    [tiny(model=StraightThrough), tiny(model=Reversed), tiny(loss=constant), tiny(loss=no_graph, step=plain)],
    ids=["straight-through", "reversed", "hinge at rest", "a step of its own"],
)
def test_gradients_that_are_meant(program: Program) -> None:
    assert [finding for finding in asked(program, Downhill(), TermBalance()) if finding.alarms] == []


def test_terms_are_only_noted() -> None:
    def three(model: nn.Module, batch: Any) -> Tensor:
        return loss(model, batch) + 0.5 * model(batch[0]).square().mean() - (model(batch[0]).mean() - 1000).relu()

    (finding,) = asked(tiny(loss=three), TermBalance())
    assert (finding.grade, finding.cause) == (Grade.NOTE, "inert")
    assert len(finding.evidence) == 3


# ------------------------------------------------------------------------------------------------------- no trace left


def test_a_live_model_is_left_as_it_was() -> None:
    live = Net()
    optimizer = Adam(live.parameters(), 3e-3)
    before = copy.deepcopy(live.state_dict())
    found = asked(tiny(model=lambda: live, optimizer=lambda _: optimizer), *CHECKS)
    assert [finding for finding in found if finding.alarms] == []
    assert all(torch.equal(value, live.state_dict()[name]) for name, value in before.items())
    assert not optimizer.state
    assert all(not p._backward_hooks for p in live.parameters())
