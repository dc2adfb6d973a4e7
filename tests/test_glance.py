"""A glance at answers tells what measuring them exactly tells, to some thousandths, and chooses the same codes."""

from __future__ import annotations

import pytest
import torch

from selfsight.distances import Pixels
from selfsight.restorer import Asked
from selfsight.restorers import CamNet, camnet
from selfsight.selection import Selection

SHORT = CamNet(width=8, widest=16)


def there() -> bool:
    return SHORT.build(3, 28).glances(torch.zeros(1, 3, 28, 28))


needed = pytest.mark.skipif(not there(), reason="no numba, or no bf16 in this processor")


def case(restorer=SHORT, channels=3, size=28, n=3, k=20, dim=0):
    g = torch.Generator().manual_seed(0)
    stack = restorer.build(channels, size, dim, seed=1)
    left, truth = (torch.rand(n, channels, size, size, generator=g) for _ in range(2))
    return stack, left, truth, stack.seeds(n, k, g), torch.randn(n, dim, generator=g) if dim else None


@needed
@pytest.mark.parametrize(
    ("restorer", "channels", "size", "dim"),
    [
        (SHORT, 3, 28, 0),
        (CamNet(width=4, widest=6, grains=0), 1, 56, 0),
        (CamNet(width=5, widest=5, grains=3, blocks=0), 3, 64, 4),
    ],
)
def test_every_levels_distances_are_those_of_its_answers(restorer, channels, size, dim):
    gauge = Pixels(pixels=0.7, gradients=1.3).build(channels)
    stack, left, truth, seeds, z = case(restorer, channels, size, dim=dim)
    state = None
    with torch.no_grad():
        for l, (small, right) in enumerate(zip(stack.pictures(left), stack.pictures(truth), strict=True)):
            code = stack.code(l, seeds[:, l].flatten())
            answers, states = stack.level(l, small, code, state, z)
            exact = gauge(answers.unflatten(0, (3, 20)), right)
            asked = Asked(small, state, z, stack.look(l, small, state))
            rough = stack.glance(l, asked, code, right, gauge.squares)
            assert torch.allclose(rough, exact, rtol=5e-3)
            assert (rough.topk(4, largest=False).indices == exact.argmin(1, keepdim=True)).any(1).all()
            state = tuple(x[::20] for x in states)


@needed
@pytest.mark.parametrize("budget", [8, 256])
def test_the_same_codes_are_chosen_and_their_distances_are_exact(budget):
    stack, left, truth, seeds, _ = case(n=5, k=40)
    gauge = Pixels().build(3)
    glanced = Selection(codes=(40, 12), budget=budget)(stack, gauge, left, truth, seeds)
    exact = Selection(codes=(40, 12), finalists=0)(stack, gauge, left, truth, seeds)
    assert torch.equal(glanced.seeds, exact.seeds)
    assert torch.allclose(glanced.distance, exact.distance, rtol=1e-6)
    assert torch.equal(glanced.least, glanced.distance)
    assert torch.allclose(glanced.mean, exact.mean, rtol=1e-3)


@needed
def test_it_is_right_under_autocast():
    stack, left, truth, seeds, _ = case(n=2, k=24)
    gauge, selection = Pixels().build(3), Selection(codes=(24,))
    plain = selection(stack, gauge, left, truth, seeds)
    with torch.autocast("cpu", torch.bfloat16):
        assert selection(stack, gauge, left, truth, seeds).mean == pytest.approx(plain.mean, rel=0.01)


def test_where_nothing_is_quicker_all_are_measured(monkeypatch):
    """In double precision, in colour alone, by absolute differences, within a radius, with few codes, without numba."""
    monkeypatch.setattr(CamNet(predicts="colour").build(3, 28).__class__, "glance", lambda *_: pytest.fail("glanced"))
    stack, left, truth, seeds, _ = case()
    gauge, sixteen = Pixels().build(3), Selection(codes=(16,))
    sixteen(stack.double(), gauge, left.double(), truth.double(), seeds)
    stack.float()
    sixteen(stack, Pixels(difference="absolute").build(3), left, truth, seeds)
    sixteen(CamNet(width=8, widest=8, predicts="colour").build(3, 28), gauge, left, truth, seeds)
    Selection(codes=(16,), radius=0.01)(stack, gauge, left, truth, seeds)
    Selection(codes=(15,))(stack, gauge, left, truth, seeds)
    monkeypatch.setattr(camnet, "compiled_module", lambda _: None)
    sixteen(stack, gauge, left, truth, seeds)
