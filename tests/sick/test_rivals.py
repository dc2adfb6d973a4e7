"""Every rule of the rivals fires on a planted fault and is silent on a plain healthy program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from doctor_odd.training import train
from doctor_rivals import RIVALS, Trace, record
from doctor_rivals.collapse import rank_share, spread
from torch import Tensor, nn

from selfsight.program import Program

CENTRES = torch.tensor([[0.4, 0.0, 0.2, -0.3], [-0.3, 0.4, -0.2, 0.1], [-0.1, -0.4, 0.1, 0.3]])


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    points = CENTRES[labels] + 0.35 * torch.randn(count, 4, generator=generator)
    return points.clamp(-1, 1), labels


POINTS, LABELS = blobs(480, seed=0)
STILL = [(POINTS[:60], LABELS[:60])]


def passes() -> Any:
    for rows in torch.randperm(len(POINTS)).split(60):
        yield POINTS[rows], LABELS[rows]


def net(inside: Callable[[], nn.Module] = nn.ReLU, bias: float = 0.0, gain: float = 1.0, out: int = 3) -> nn.Sequential:
    """Two layers; the first one's bias and the last one's weights can be set wrong."""
    model = nn.Sequential(nn.Linear(4, 24), inside(), nn.Linear(24, out))
    with torch.no_grad():
        model[0].bias += bias
        model[2].weight *= gain
    return model


def classified(**changes: Any) -> Program:
    """A healthy classifier of overlapping blobs."""
    program = Program(
        batches=passes,
        model=net,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=8e-3),
        predict=lambda model, batch: model(batch[0]),
        criterion=lambda logits, batch: F.cross_entropy(logits, batch[1]),
        embed=lambda model, batch: model[0](batch[0]),
        validation=lambda: [blobs(300, seed=1)],
    )
    return replace(program, **changes)


def lossy(criterion: Callable[[Tensor, Any], Tensor], **changes: Any) -> Program:
    """The same with another criterion."""
    return classified(loss=lambda model, b: criterion(model(b[0]), b), criterion=criterion, **changes)


def measured(scale: float = 1.0) -> Program:
    """A healthy regression, its targets times `scale`."""

    def criterion(said: Tensor, batch: Any) -> Tensor:
        return F.mse_loss(said, batch[2])

    def triples() -> Any:
        return ((x, y, scale * x[:, :1]) for x, y in passes())

    return lossy(criterion, batches=triples, model=lambda: net(out=1), validation=None)


def fed(change: Callable[[Tensor], Tensor], **changes: Any) -> Program:
    """The healthy classifier with changed inputs."""
    return classified(
        batches=lambda: ((change(x), y) for x, y in passes()),
        validation=lambda: [(change(blobs(300, seed=1)[0]), blobs(300, seed=1)[1])],
        **changes,
    )


def deep() -> nn.Sequential:
    layers = [layer for _ in range(9) for layer in (nn.Linear(24, 24), nn.Sigmoid())]
    return nn.Sequential(nn.Linear(4, 24), nn.Sigmoid(), *layers, nn.Linear(24, 3))


def rate(lr: float) -> Any:
    return lambda model: torch.optim.SGD(model.parameters(), lr=lr)


def with_idle(model: nn.Module) -> nn.Module:
    model.idle = nn.Parameter(torch.ones(3, 3) + torch.eye(3))
    return model


def shaken(model: Any, optimizer: Any, batch: Any) -> None:
    """A step that moves what is not to be trained."""
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    with torch.no_grad():
        model[0].bias.add_(0.01)


def frozen_bias() -> nn.Module:
    model = net()
    model[0].bias.requires_grad_(False)
    return model


def pictures(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 4)


def flat(inner: Callable[[], nn.Module]) -> Callable[[], nn.Sequential]:
    return lambda: nn.Sequential(nn.Flatten(), inner())


def swings(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=5.0, momentum=0.9)


def forgetful() -> Program:
    """Validation labels that disagree with those of training: the loss there rises as the other falls."""
    points, labels = blobs(300, seed=1)
    return classified(validation=lambda: [(points, (labels + 1) % 3)])


NOT_A_NUMBER = lossy(lambda logits, b: F.cross_entropy(logits, b[1]) * float("nan"))
PLANTED: list[tuple[str, str, Callable[[], Program]]] = [
    ("AutoTrainer", "vanishing", lambda: classified(model=deep)),
    ("AutoTrainer", "exploding gradient", lambda: classified(model=lambda: net(gain=1000.0))),
    ("AutoTrainer", "dying ReLU", lambda: classified(model=lambda: net(bias=-50.0))),
    ("AutoTrainer", "abnormal data", lambda: fed(lambda x: 1000 * x)),
    (
        "AutoTrainer",
        "exploding loss",
        lambda: lossy(lambda logits, b: F.cross_entropy(logits, b[1], reduction="sum") * 100),
    ),
    ("AutoTrainer", "large weight", lambda: classified(model=lambda: net(gain=100.0))),
    ("AutoTrainer", "slow convergence", lambda: classified(batches=lambda: STILL, optimizer=rate(0.0))),
    ("AutoTrainer", "not converged", lambda: classified(optimizer=rate(0.0))),
    ("AutoTrainer", "oscillating", lambda: classified(optimizer=swings)),
    ("DeepDiagnosis", "dead node", lambda: classified(model=lambda: net(bias=-50.0))),
    ("DeepDiagnosis", "saturated", lambda: classified(model=lambda: net(inside=nn.Tanh, bias=50.0))),
    ("DeepDiagnosis", "exploding gradient", lambda: NOT_A_NUMBER),
    ("DeepDiagnosis", "vanishing", lambda: classified(model=deep)),
    ("DeepDiagnosis", "learning rate", lambda: classified(optimizer=rate(1e-7))),
    ("DeepDiagnosis", "poor weight", lambda: classified(model=lambda: net(gain=1e-3), optimizer=rate(1e-3))),
    ("DeepDiagnosis", "unchanged weight", lambda: classified(optimizer=rate(0.0))),
    ("DeepDiagnosis", "loss not moving", lambda: lossy(lambda logits, b: logits.sum() * 0 + 1)),
    (
        "DeepDiagnosis",
        "accuracy not moving",
        lambda: lossy(lambda logits, b: logits.sum() * 0 + 1, batches=lambda: STILL),
    ),
    ("DeepDiagnosis", "the loss is not finite", lambda: NOT_A_NUMBER),
    ("DeepDiagnosis", "layer's output is not finite", lambda: NOT_A_NUMBER),
    ("DeepDiagnosis", "a weight is not finite", lambda: NOT_A_NUMBER),
    ("DeepDiagnosis", "input outside", lambda: fed(lambda x: 3 * x)),
    ("DeepDiagnosis", "out of range", lambda: measured(scale=1000.0)),
    ("UMLAUT", "input outside", lambda: fed(lambda x: 3 * x)),
    ("UMLAUT", "input not finite", lambda: fed(lambda x: x / 0)),
    (
        "UMLAUT",
        "input not floating",
        lambda: fed(lambda x: x.round().long(), model=lambda: nn.Sequential(Floats(), *net()), embed=None),
    ),
    ("UMLAUT", "input not square", lambda: fed(pictures, model=flat(net), embed=None)),
    ("UMLAUT", "rate above", lambda: classified(optimizer=rate(0.5))),
    ("UMLAUT", "rate below", lambda: classified(optimizer=rate(1e-8))),
    (
        "UMLAUT",
        "dropout",
        lambda: classified(model=lambda: net(inside=lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.8)))),
    ),
    ("UMLAUT", "missing activation", lambda: classified(model=lambda: net(inside=nn.Identity))),
    ("UMLAUT", "no softmax", lambda: lossy(lambda out, b: F.nll_loss(out.abs().add(0.1).log(), b[1]))),
    ("UMLAUT", "activation on the last", lambda: classified(model=lambda: nn.Sequential(*net(), nn.ReLU()))),
    ("UMLAUT", "overfitting", forgetful),
    ("UMLAUT", "too good", lambda: classified(validation=lambda: [(CENTRES, torch.arange(3))])),
    ("UMLAUT", "loss not finite", lambda: NOT_A_NUMBER),
    ("torchtest", "idle does not change", lambda: classified(model=lambda: with_idle(net()))),
    ("torchtest", "though it is not trained", lambda: classified(model=frozen_bias, step=shaken)),
    ("torchtest", "weight is not finite", lambda: NOT_A_NUMBER),
    ("torchtest", "outputs are not finite", lambda: NOT_A_NUMBER),
    ("torchtest", "targets' range", lambda: replace(measured(), predict=lambda model, b: model(b[0]) + 100)),
    ("feature std", "spread", lambda: classified(embed=lambda model, b: model[0](b[0]) * 1e-3 + 5)),
    ("RankMe", "RankMe", lambda: classified(embed=lambda model, b: b[0][:, :1].expand(-1, 24))),
    ("always faulty", "faulty", classified),
]


class Floats(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


@pytest.fixture(scope="module")
def healthy() -> list[tuple[Program, Trace]]:
    return [(program, record(program, steps=48)) for program in (classified(), measured())]


@pytest.mark.parametrize(("rival", "alarm", "plant"), PLANTED, ids=[f"{rival}: {alarm}" for rival, alarm, _ in PLANTED])
def test_fires(rival: str, alarm: str, plant: Callable[[], Program]) -> None:
    program = plant()
    assert any(alarm in said for said in RIVALS[rival](program, record(program, steps=24, windows=8)))


@pytest.mark.parametrize("rival", [name for name in RIVALS if name != "always faulty"])
def test_silent(rival: str, healthy: list[tuple[Program, Trace]]) -> None:
    for program, trace in healthy:
        assert trace.error is None
        assert RIVALS[rival](program, trace) == []


def test_silence_is_no_abstention(healthy: list[tuple[Program, Trace]]) -> None:
    """The healthy traces hold what the rules need."""
    trace = healthy[0][1]
    assert trace.classes == 3 and trace.softmax_inside and not trace.probabilities
    assert all(window.accuracy is not None and window.held_loss is not None for window in trace.windows)
    assert [call.name for call in trace.windows[0].calls] == ["linear", "relu", "linear"]
    assert trace.embedding is not None and len(trace.losses) == 48
    assert healthy[1][1].targets is not None and healthy[1][1].classes is None


@pytest.mark.parametrize("rival", RIVALS)
def test_a_program_that_raises_is_alarmed(rival: str) -> None:
    program = lossy(lambda logits, b: F.cross_entropy(logits, b[1].view(4, -1)))
    trace = record(program, steps=4)
    assert trace.error is not None and RIVALS[rival](program, trace)


def test_recording_changes_neither_the_training_nor_the_random_state() -> None:
    made: list[nn.Module] = []

    def model() -> nn.Module:
        layers = nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 3)
        made.append(nn.Sequential(*layers))
        return made[-1]

    def own(model: nn.Module, optimizer: Any, batch: Any) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    program = classified(model=model, step=own)
    state = torch.get_rng_state()
    assert record(program, steps=12).error is None
    train(program, 12)
    watched, alone = (net.state_dict() for net in made)
    assert all(torch.equal(watched[name], alone[name]) for name in alone)
    assert torch.equal(state, torch.get_rng_state())


def test_spread_and_rank_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 16, generator=generator)
    assert spread(z) == pytest.approx(1, abs=0.02) and rank_share(z) == pytest.approx(1, abs=0.02)
    assert rank_share(z[:, :4] @ torch.randn(4, 16, generator=generator)) < 0.3
    assert spread(z + 100) < 0.05
