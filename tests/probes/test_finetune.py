"""Fine-tuning: which weights move and when, what is left untouched, and what pictures it trains on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from selfsight.errors import UserError
from selfsight.probe import Labelled, Subject
from selfsight.probes import FineTune
from selfsight.probes.finetune import _timed, rate_share

QUICK = FineTune(epochs=1, frozen_epochs=1, least=0, batch=16, flip=False, crop=1.0)


def _draw(count: int, seed: int) -> Labelled:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = generator.integers(0, 100, (count, 8, 8, 3))
    images[labels == 1, :4] += 80  # bright above: a mirror image stays in its class
    return Labelled(np.zeros((count, 5), np.float32), labels, images.astype(np.uint8))


class _Factory:
    """Builds the same encoder each time, and keeps what it built."""

    def __init__(self) -> None:
        self.built: list[nn.Module] = []

    def __call__(self) -> nn.Module:
        net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 5))
        with torch.no_grad():
            for place, parameter in enumerate(net.parameters()):
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(place))
        self.built.append(net.eval().requires_grad_(False))
        return net


def _subject(factory: _Factory | None) -> Subject:
    return Subject("trained", _draw(64, 0), _draw(40, 1), ("dark", "bright"), factory)


def _moved(factory: _Factory) -> bool:
    fresh, used = _Factory()(), factory.built[0]
    return any(
        not torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), used.state_dict().values(), strict=True)
    )


def test_nothing_to_fine_tune_yields_nothing() -> None:
    assert list(QUICK.scores(_subject(None), 0)) == []


def test_learns_from_pixels() -> None:
    score = next(iter(FineTune(batch=16).scores(_subject(_Factory()), 0)))
    assert score.probe == "fine-tuning (50 epochs)"  # 200 steps of 16 on 64 images
    assert score.value > 0.9


@pytest.mark.parametrize(
    ("probe", "moves"),
    [
        (replace(QUICK, epochs=0), False),
        (replace(QUICK, epochs=0, frozen_epochs=3), False),
        (replace(QUICK, frozen_epochs=0), True),
        (QUICK, True),
    ],
)
def test_a_frozen_encoder_keeps_weights_and_statistics(probe: FineTune, moves: bool) -> None:
    factory = _Factory()
    list(probe.scores(_subject(factory), 0))
    assert len(factory.built) == 1
    assert _moved(factory) == moves


def test_the_rates_are_the_encoders_and_the_heads_own() -> None:
    def distance(**rates: float) -> float:
        factory = _Factory()
        list(replace(QUICK, frozen_epochs=0, **rates).scores(_subject(factory), 0))  # type: ignore[arg-type]
        pairs = zip(_Factory()().parameters(), factory.built[0].parameters(), strict=True)
        return sum(float((a - b).detach().abs().sum()) for a, b in pairs)

    usual = distance()
    assert distance(encoder_rate=FineTune().encoder_rate / 10) < 0.2 * usual
    assert distance(head_rate=FineTune().head_rate / 10) == pytest.approx(usual, rel=0.5)


def test_divergence_is_told() -> None:
    with pytest.raises(UserError, match="fine-tuning diverged at rates"):
        list(replace(QUICK, encoder_rate=1e30, head_rate=1e30).scores(_subject(_Factory()), 0))


def test_an_encoder_that_does_not_pool_is_told() -> None:
    with pytest.raises(UserError, match=r"gave a result of shape \(2, 4, 6, 6\) for 2 images"):
        list(QUICK.scores(replace(_subject(None), build=lambda: nn.Conv2d(3, 4, 3)), 0))


def test_pictures_are_mirrored_and_cropped_within_bounds() -> None:
    ramp = torch.arange(32.0).expand(400, 1, 32, 32) / 31
    generator = torch.Generator().manual_seed(0)
    found = FineTune(crop=0.6)._augment(ramp, generator)
    steps = (found[:, 0, 16, 24] - found[:, 0, 16, 8]) / (16 / 31)
    assert 0.4 < float((steps < 0).float().mean()) < 0.6  # mirrored half of the time
    assert 0.58 < float(steps.abs().min()) < 0.65  # a crop of 0.6 of the side stretches the ramp to 0.6 of its slope
    assert 0.95 < float(steps.abs().max()) < 1.02
    assert torch.equal(FineTune(crop=1.0, flip=False)._augment(ramp, generator), ramp)


def test_rates_rise_then_fall() -> None:
    shares = [rate_share(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == 1 == shares[9]
    assert shares[9:] == sorted(shares[9:], reverse=True)
    assert shares[-1] < 0.01


def test_minutes_are_kept_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("selfsight.probes.finetune.time.monotonic", lambda: next(now))
    steps = list(_timed(2))  # a second between any two looks at the clock
    assert [step for step, _ in steps] == list(range(120))
    shares = [share for _, share in steps]
    assert max(shares) == pytest.approx(1, abs=1e-3)
    assert shares.index(max(shares)) in (11, 12)
    assert shares[-1] < 0.01


def test_minutes_train_both_parts() -> None:
    factory = _Factory()
    score = next(iter(replace(QUICK, minutes=0.005).scores(_subject(factory), 0)))
    assert score.probe == "fine-tuning (0.005 minutes)"
    assert _moved(factory)


def test_label_smoothing_keeps_answers_modest() -> None:
    def confidence(smoothing: float) -> float:
        probe = FineTune(least=100, batch=16, label_smoothing=smoothing, crop=1.0)
        seen: list[np.ndarray] = []
        original = FineTune._logits

        def watch(*arguments: object) -> np.ndarray:
            seen.append(original(*arguments))  # type: ignore[arg-type]
            return seen[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FineTune, "_logits", staticmethod(watch))
            list(probe.scores(_subject(_Factory()), 0))
        return float(torch.tensor(seen[0]).softmax(1).amax(1).mean())

    assert confidence(0.9) < confidence(0.0) - 0.05


def test_balanced_draws_every_class_as_often() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    drawn = replace(QUICK, balanced=True)._drawn(labels, torch.Generator().manual_seed(0))
    assert len(drawn) == 100
    assert 35 <= int((labels[drawn] == 1).sum()) <= 65
    plain = QUICK._drawn(labels, torch.Generator().manual_seed(0))
    assert sorted(plain.tolist()) == list(range(100))
