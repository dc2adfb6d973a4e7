"""M204 and M205 on programs as people write them: nets born dead or alike, modes forgotten, and odd ones that are well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asking import found
from nets import CHECKS, Made, alarms, encoder, made, mlp, two
from torch import Tensor, nn

from selfsight.checks.modes import Modes
from selfsight.checks.signal_depth import SignalDepth
from selfsight.planted import tiny

# ---------------------------------------------------------------------------------------------------- M204: depth


def with_init(init: Callable[[nn.Sequential], Any], *layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Flatten(), *(layer() for layer in layers))
        with torch.no_grad():
            init(net)
        return net

    return build


def linear(i: int, o: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(i, o)


def all_zero(net: nn.Sequential) -> None:
    for parameter in net.parameters():
        parameter.zero_()


def all_equal(net: nn.Sequential) -> None:
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.weight.fill_(0.05)


class TwoNorms(nn.Module):
    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.norm = nn.BatchNorm1d(16)
        self.other = self.norm if shared else nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.one(x.flatten(1))))
        return self.head(F.relu(self.other(self.two(h))))


def siamese(net: Any, a: Tensor, b: Tensor) -> Tensor:
    za, zb = (net.norm(net.body(x.flatten(1))) for x in (a, b))
    return net.head(za - zb)


def two_projectors(net: Any, a: Tensor, b: Tensor) -> Tensor:
    one, other = net.norm(net.online(a)), net.norm(net.target(b).detach())
    return (one.T @ other / len(a) - torch.eye(16)).square().sum()


def unrolled(net: Any, x: Tensor) -> Tensor:
    h = net.stem(x.flatten(1))
    for _ in range(3):
        h = h + F.relu(net.norm(net.cell(h)))
    return net.head(h)


class Adapted(nn.Module):
    """LoRA: a frozen layer, and a low-rank change of it that starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(64, 16), nn.Linear(64, 2, bias=False), nn.Linear(2, 16, bias=False)
        self.head = nn.Linear(16, 3)
        self.base.requires_grad_(False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head(F.relu(self.base(x) + self.up(self.down(x))))


class Gated(nn.Module):
    """A residual net whose branch starts at 0, under a last layer that starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(64, 16), nn.BatchNorm1d(16)
        self.branch, self.head = nn.Linear(16, 16), nn.Linear(16, 3)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.stem(x.flatten(1)))
        return self.head(F.relu(h + self.norm(self.branch(h))))


def satisfied(net: Any, x: Tensor) -> Tensor:
    h = net.body(x.flatten(1))
    net.extra = F.relu(h.abs() - 100).mean()
    return net.head(h)


DEPTH = {
    "ReLU behind negative weights": (
        tiny(model=with_init(lambda net: net[1].bias.fill_(-50.0), linear(64, 16), nn.ReLU, linear(16, 3))),
        "model/dead-units",
    ),
    "nothing but zeros": (tiny(model=with_init(all_zero, linear(64, 16), nn.Tanh, linear(16, 3))), "model/dead-units"),
    "all weights alike": (
        tiny(model=with_init(all_equal, linear(64, 16), nn.Tanh, linear(16, 3))),
        "model/symmetric-units",
    ),
    "one norm, two depths": (tiny(model=lambda: TwoNorms(True)), "model/shared-norm"),
}


@pytest.mark.parametrize("name", DEPTH)
def test_depth(name: str) -> None:
    program, wanted = DEPTH[name]
    assert alarms(SignalDepth(), program) == [wanted]


HEALTHY_DEPTH = {
    "a norm for each layer": tiny(model=lambda: TwoNorms(False)),
    "twins share a norm": two(
        lambda m, b: (m(*b) - 1).square().mean(),
        made(siamese, body=lambda: nn.Linear(64, 16), norm=lambda: nn.BatchNorm1d(16), head=lambda: nn.Linear(16, 1)),
    ),
    "two projectors, one bare norm": two(
        lambda m, b: m(*b),
        made(two_projectors, online=encoder, target=encoder, norm=lambda: nn.BatchNorm1d(16, affine=False)),
    ),
    "a cell called three times": tiny(
        model=made(
            unrolled,
            stem=lambda: nn.Linear(64, 16),
            cell=lambda: nn.Linear(16, 16),
            norm=lambda: nn.BatchNorm1d(16),
            head=lambda: nn.Linear(16, 3),
        )
    ),
    "LoRA": tiny(
        model=Adapted, optimizer=lambda net: torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    ),
    "zero head over zero gate, gathered gradients": tiny(
        model=Gated,
        step=lambda *given: gathering(*given),
    ),
    "a hinge that is satisfied": tiny(
        model=made(satisfied, body=lambda: nn.Linear(64, 16), head=lambda: nn.Linear(16, 3)),
    ),
    "head alone alike": tiny(
        model=with_init(lambda net: net[3].weight.fill_(0.1), linear(64, 16), nn.ReLU, linear(16, 3))
    ),
    "a fixed filter": tiny(
        model=lambda: nn.Sequential(blur(), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    ),
}


def blur() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3, bias=False)
    nn.init.constant_(conv.weight, 1 / 9)
    return conv.requires_grad_(False)


def gathering(model: nn.Module, optimizer: Any, batch: Any) -> None:
    """Four micro-batches to a step; the optimizer counts them."""
    (F.cross_entropy(model(batch[0]), batch[1]) / 4).backward()
    optimizer.seen = getattr(optimizer, "seen", 0) + 1
    if optimizer.seen % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", HEALTHY_DEPTH)
def test_healthy_depth(name: str) -> None:
    for check in CHECKS:
        assert alarms(check, HEALTHY_DEPTH[name]) == [], check.code


def test_a_jump_in_scale_is_only_noted() -> None:
    blown = tiny(
        model=made(
            lambda net, x: net.head(net.body(x.flatten(1)) * 1000),
            body=lambda: mlp(64, 8),
            head=lambda: nn.Linear(8, 3),
        )
    )
    assert not alarms(SignalDepth(), blown)
    loud = tiny(
        model=lambda: nn.Sequential(
            nn.Flatten(), Made(lambda net, x: net.body(x) * 1000, body=nn.Linear(64, 8)), nn.Linear(8, 3)
        )
    )
    (note,) = found(SignalDepth(), loud)
    assert note.cause == "scale-blow-up" and not note.alarms and note.place.name == "1"


# ---------------------------------------------------------------------------------------------------- M205: modes


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
    )


def plain(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss


def evaluating_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    model.eval()
    return plain(model, optimizer, batch)


def careful_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
    """Trains, and then looks how it is doing."""
    model.train()
    plain(model, optimizer, batch)
    model.eval()
    with torch.no_grad():
        return float(F.cross_entropy(model(batch[0]), batch[1]))


def last_part_only(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """Everything but the last layer is kept as it evaluates, on purpose."""
    model.eval()
    model[-1].train()
    return plain(model, optimizer, batch)


def evaluates(model: nn.Module, optimizer: Any, epoch: int) -> None:
    model.eval()


def evaluates_and_goes_on(model: nn.Module, optimizer: Any, epoch: int) -> None:
    model.eval()
    model.train()


class KeepsNorms(nn.Module):
    """Fine-tuning with the norms as they were trained."""

    def __init__(self) -> None:
        super().__init__()
        self.net = normed()
        norm: Any = self.net[2]
        norm.running_mean.add_(0.3)
        self.train()

    def train(self, mode: bool = True) -> KeepsNorms:
        super().train(mode)
        self.net[2].eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Probe(nn.Module):
    """A frozen body under a linear layer; the whole of it is put into evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = normed()[:5].requires_grad_(False)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


def no_momentum() -> nn.Module:
    net = normed()
    net[2].momentum = 0.0  # type: ignore[union-attr]
    return net


ASLEEP = {
    "eval in the step": (tiny(model=normed, step=evaluating_step), "loop/train-eval-mode"),
    "eval in the loss": (
        tiny(model=normed, loss=lambda m, b: F.cross_entropy(m.eval()(b[0]), b[1])),
        "loop/train-eval-mode",
    ),
    "handed out in eval": (tiny(model=lambda: normed().eval()), "loop/train-eval-mode"),
    "never back to train": (tiny(model=normed, between_epochs=evaluates), "loop/train-eval-mode"),
    "no momentum": (tiny(model=no_momentum), "model/train-eval-mode"),
}


@pytest.mark.parametrize("name", ASLEEP)
def test_asleep(name: str) -> None:
    program, wanted = ASLEEP[name]
    assert alarms(Modes(), program) == [wanted]


AWAKE = {
    "a net with norms": tiny(model=normed),
    "looks how it is doing": tiny(model=normed, step=careful_step),
    "back to train": tiny(model=normed, between_epochs=evaluates_and_goes_on),
    "norms kept as they were": tiny(model=KeepsNorms),
    "linear probe in eval": tiny(
        model=Probe, step=evaluating_step, optimizer=lambda net: torch.optim.SGD(net.fc.parameters(), 0.1)
    ),
    "the last part alone": tiny(model=normed, step=last_part_only),
    "gathered gradients": tiny(model=normed, step=gathering),
    "cumulative statistics": tiny(
        model=lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16, momentum=None), nn.Linear(16, 3)
        )
    ),
}


@pytest.mark.parametrize("name", AWAKE)
def test_awake(name: str) -> None:
    for check in CHECKS:
        assert alarms(check, AWAKE[name]) == [], check.code


def test_embed_in_training_mode_is_noted() -> None:
    noisy = tiny(model=normed, embed=lambda m, b: m.train()(b[0]))
    (note,) = found(Modes(), noisy)
    assert not note.alarms and note.place.name == "embed"
