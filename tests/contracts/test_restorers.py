"""What every restorer promises. Add one to selfsight.restorers, and it is held to all of this."""

from __future__ import annotations

import copy

import pytest
import torch

from selfsight import restorers
from selfsight.distances import Pixels
from selfsight.restorers import CamNet
from selfsight.selection import Selection

RESTORERS = [getattr(restorers, name) for name in restorers.__all__]
MORE = [CamNet(predicts="hidden")]
KINDS = [(1, 28, 0), (3, 64, 0), (3, 96, 5)]


@pytest.fixture(params=[*(kind() for kind in RESTORERS), *MORE], ids=lambda one: f"{type(one).__name__} {one.predicts}")
def restorer(request):
    return request.param


@pytest.fixture(params=KINDS, ids=lambda kind: "{}x{} D={}".format(*kind))
def asked(request, restorer):
    """A built restorer in float64, pictures, and embeddings or None."""
    channels, size, dim = request.param
    stack = restorer.build(channels, size, dim, seed=1).double()
    g = torch.Generator().manual_seed(0)
    left = torch.rand(3, channels, size, size, generator=g, dtype=torch.float64)
    left = stack.with_holes(left, (torch.rand(3, 1, size, size, generator=g) < 0.5).double())
    return stack, left, torch.randn(3, dim, generator=g, dtype=torch.float64) if dim else None


def drawn(stack, n=3, seed=0):
    return stack.draw(n, torch.Generator().manual_seed(seed))


def test_it_answers_at_every_level(asked):
    stack, left, z = asked
    answers = stack(left, drawn(stack), z)
    assert len(answers) == stack.levels == len(stack.sides)
    assert stack.sides[-1] == left.shape[-1]
    for answer, side in zip(answers, stack.sides, strict=True):
        assert answer.shape == (3, left.shape[1] - stack.sees_holes, side, side)
        assert ((answer >= 0) & (answer <= 1)).all()


def test_levels_run_one_by_one_are_the_whole(asked):
    stack, left, z = asked
    codes, state = drawn(stack), None
    whole = stack(left, codes, z)
    for l, small in enumerate(stack.pictures(left)):
        answer, state = stack.level(l, small, codes[l], state, z)
        assert torch.equal(answer, whole[l])


def test_several_codes_at_once_are_one_at_a_time(asked):
    """The K codes of a picture in a row, and its state and left once."""
    stack, left, z = asked
    lefts, k = stack.pictures(left), 4
    state = None
    for l in range(stack.levels):
        many = stack.code(l, torch.arange(3 * k))
        answers, states = stack.level(l, lefts[l], many, state, z)
        assert len(answers) == 3 * k
        for j in range(k):
            answer, one = stack.level(l, lefts[l], many[j::k], state, z)
            assert torch.allclose(answers[j::k], answer, atol=1e-12)
            assert all(torch.allclose(x[j::k], y, atol=1e-12) for x, y in zip(states, one, strict=True))
        state = tuple(x[0::k] for x in states)


def test_an_answer_does_not_depend_on_its_neighbours(asked):
    stack, left, z = asked
    stack.train()
    codes = drawn(stack)
    together = stack(left, codes, z)
    for i in range(3):
        alone = stack(left[i : i + 1], [code[i : i + 1] for code in codes], None if z is None else z[i : i + 1])
        assert all(torch.allclose(x[i : i + 1], y, atol=1e-12) for x, y in zip(together, alone, strict=True))


def test_every_parameter_is_used_and_no_slope_is_infinite(asked):
    stack, left, z = asked
    left = left.clone()
    left[0], left[1] = 0, 1
    answers = stack(left, drawn(stack), z)
    sum(answer.square().sum() for answer in answers).backward()
    for name, parameter in stack.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_under_autocast_pictures_keep_their_precision(asked):
    stack, left, z = asked
    stack, left, z = stack.float(), left.float(), None if z is None else z.float()
    codes, gauge = drawn(stack), Pixels().build(left.shape[1] - stack.sees_holes)
    wanted = stack(left, codes, z)
    with torch.autocast("cpu", torch.bfloat16):
        found = stack(left, codes, z)
        loss = sum(gauge(a.unsqueeze(1), torch.zeros_like(a)).mean() for a in found)
    loss.backward()
    assert loss.dtype == torch.float32
    for answer, right in zip(found, wanted, strict=True):
        assert answer.dtype == torch.float32
        assert (answer - right).detach().abs().mean() < 0.02


def test_other_codes_other_answers_at_every_level(asked):
    stack, left, z = asked
    one, other = stack(left, drawn(stack), z), stack(left, drawn(stack, seed=1), z)
    for first, second in zip(one, other, strict=True):
        assert (first - second).detach().abs().mean() > 1e-3


def test_codes_are_a_function_of_their_seeds(asked):
    stack = asked[0]
    seeds = stack.seeds(5, 2, torch.Generator().manual_seed(3))
    assert seeds.shape == (5, stack.levels, 2)
    for l in range(stack.levels):
        codes = stack.code(l, seeds[:, l].flatten())
        assert codes.shape == (10, stack.lengths[l])
        assert torch.equal(codes[3:4], stack.code(l, seeds[:, l].flatten()[3:4]))
        assert len(codes.unique(dim=0)) == 10
        assert abs(float(codes.mean())) < 0.2 and abs(float(codes.std()) - 1) < 0.2
    again = [stack.draw(4, torch.Generator().manual_seed(9)) for _ in range(2)]
    assert all(torch.equal(x, y) for x, y in zip(*again, strict=True))


def test_its_weights_are_a_function_of_the_seed(restorer):
    before = torch.random.get_rng_state()
    one, again, other = (restorer.build(3, 32, 0, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_pictures_of_another_size_are_refused(asked):
    stack, left, z = asked
    with pytest.raises(ValueError, match="was built for pictures of"):
        stack(left[:, :, :-2, :-2], drawn(stack), z)


def test_codes_come_to_matter(restorer, photographs):
    """Forty steps of conditional IMLE on gray photographs: the nearest of eight answers gets nearer than a code drawn
    at random is, on pictures that were not learned from, and answers stay apart."""
    truth = torch.from_numpy(photographs).permute(0, 3, 1, 2).float() / 255
    left = truth.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    stack, gauge, selection = restorer.build(3, 32), Pixels().build(3), Selection(codes=(8,))
    left = stack.with_holes(left, torch.ones_like(left[:, :1]))  # told nothing, but that all is in doubt
    g = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(stack.parameters(), lr=2e-3)

    def judged(net):
        held = slice(192, 240)
        seeds = selection.seeds(net, 48, torch.Generator().manual_seed(1))
        return selection(net, gauge, left[held], truth[held], seeds)

    before = judged(copy.deepcopy(stack))
    for _ in range(40):
        rows = torch.randperm(192, generator=g)[:16]
        chosen = selection(stack, gauge, left[rows], truth[rows], selection.seeds(stack, 16, g))
        answers = stack(left[rows], stack.codes(chosen.seeds))
        loss = sum(gauge(a.unsqueeze(1), t).mean() for a, t in zip(answers, stack.pictures(truth[rows]), strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = judged(stack)
    assert after.least.mean() < 0.8 * before.least.mean()
    assert after.least[:, 0].mean() < 0.85 * after.mean[:, 0].mean()
    nothing = gauge(left[192:240, None, :3], truth[192:240]).mean()
    assert after.least[:, -1].mean() < nothing
