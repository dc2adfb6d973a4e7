"""The choice is that of a slow loop, whatever the budget; radius, flat choice and what is told of the others."""

from __future__ import annotations

import pytest
import torch

from selfsight.distances import Pixels
from selfsight.restorer import Stack
from selfsight.restorers import CamNet
from selfsight.selection import Selection


class Named(Stack):
    """Levels of one pixel and of 2 x 2: the answer is the level before's plus a tenth of the code."""

    def __init__(self) -> None:
        super().__init__((1, 2), (1, 1))
        self.weight = torch.nn.Parameter(torch.tensor(0.1))

    def level(self, l, left, code, state=None, z=None):
        k = len(code) // len(left)
        before = torch.zeros(len(left), 1, 1, 1) if state is None else state[0]
        answer = before.repeat_interleave(k, 0) + self.weight * code[:, :, None, None]
        return answer.expand(-1, 1, self.sides[l], self.sides[l]), (answer,)


def case(size=32, n=5, dim=0, seed=0):
    stack = CamNet(width=8, widest=8, blocks=0).build(3, size, dim, seed=1).double()
    g = torch.Generator().manual_seed(seed)
    left, truth = (torch.rand(n, 3, size, size, generator=g, dtype=torch.float64) for _ in range(2))
    z = torch.randn(n, dim, generator=g, dtype=torch.float64) if dim else None
    return stack, Pixels().build(3), left, truth, z, g


@torch.no_grad()
def plainly(stack, gauge, left, truth, seeds, counts, z=None):
    """One picture, one code at a time; every level below run again for each."""
    chosen, distances, means = [], [], []
    for i in range(len(left)):
        kept, near, mean = [], [], []
        one = None if z is None else z[i : i + 1]
        for l in range(stack.levels):
            far = []
            for seed in seeds[i, l, : counts[l]].tolist():
                codes = [stack.code(j, torch.tensor([s])) for j, s in enumerate([*kept, seed])]
                state = None
                for j, small in enumerate(stack.pictures(left[i : i + 1])[: l + 1]):
                    answer, state = stack.level(j, small, codes[j], state, one)
                far.append(float(gauge(answer.unsqueeze(1), stack.pictures(truth[i : i + 1])[l])))
            best = min(range(len(far)), key=far.__getitem__)
            kept.append(int(seeds[i, l, best]))
            near.append(far[best])
            mean.append(sum(far) / len(far))
        chosen.append(kept)
        distances.append(near)
        means.append(mean)
    return torch.tensor(chosen), torch.tensor(distances).double(), torch.tensor(means).double()


@pytest.mark.parametrize("dim", [0, 4])
@pytest.mark.parametrize("codes", [(6,), (7, 3, 2)])
def test_it_is_the_slow_loops_choice(codes, dim):
    stack, gauge, left, truth, z, g = case(dim=dim)
    selection = Selection(codes=codes)
    seeds = selection.seeds(stack, 5, g)
    found = selection(stack, gauge, left, truth, seeds, z)
    wanted, distance, mean = plainly(stack, gauge, left, truth, seeds, selection.tried(3), z)
    assert torch.equal(found.seeds, wanted)
    assert torch.allclose(found.distance, distance, atol=1e-9)
    assert torch.allclose(found.mean, mean, atol=1e-9)
    assert torch.equal(found.least, found.distance)
    assert not found.distance.requires_grad


@pytest.mark.parametrize("flat", [False, True])
def test_the_budget_changes_nothing(flat):
    stack, gauge, left, truth, _, g = case(n=7)
    seeds = Selection(codes=(6, 4)).seeds(stack, 7, g)
    found = [
        Selection(codes=(6, 4), budget=budget, flat=flat)(stack, gauge, left, truth, seeds) for budget in (1, 5, 9, 300)
    ]
    for other in found[1:]:
        assert torch.equal(found[0].seeds, other.seeds)
        assert torch.allclose(found[0].mean, other.mean, atol=1e-9)
        assert torch.allclose(found[0].least, other.least, atol=1e-9)


def test_chosen_codes_answer_as_near_as_told():
    """What is told level by level is what the whole net does with the chosen codes."""
    stack, gauge, left, truth, _, g = case()
    selection = Selection(codes=(5,))
    found = selection(stack, gauge, left, truth, selection.seeds(stack, 5, g))
    answers = stack(left, stack.codes(found.seeds))
    for l, (answer, right) in enumerate(zip(answers, stack.pictures(truth), strict=True)):
        assert torch.allclose(gauge(answer.unsqueeze(1), right)[:, 0], found.distance[:, l], atol=1e-9)


def test_flat_choice_is_by_the_finest_level_of_whole_draws():
    stack, gauge, left, truth, _, g = case()
    selection = Selection(codes=(6,), flat=True)
    seeds = selection.seeds(stack, 5, g)
    found = selection(stack, gauge, left, truth, seeds)
    far = torch.stack(
        [gauge(stack(left, stack.codes(seeds[:, :, k]))[-1].unsqueeze(1), truth)[:, 0] for k in range(6)], 1
    )
    assert torch.equal(found.seeds, seeds[torch.arange(5), :, far.argmin(1)])
    assert torch.allclose(found.distance[:, -1], far.min(1).values, atol=1e-9)
    assert torch.allclose(found.mean[:, -1], far.mean(1), atol=1e-9)


def test_level_by_level_comes_nearer_than_whole_draws():
    stack, gauge, left, truth, _, g = case(n=24)
    seeds = stack.seeds(24, 8, g)
    by_level, flat = (Selection(codes=(8,), flat=flat)(stack, gauge, left, truth, seeds) for flat in (False, True))
    assert by_level.distance.sum() < flat.distance.sum()


@pytest.mark.parametrize("budget", [1, 100])
def test_the_radius_passes_over_what_is_too_near(budget):
    """Constructed: one level's answers are a tenth of the code, and the truth is 0."""
    stack, gauge = Named(), Pixels(gradients=0.0, difference="absolute").build(1)
    left = truth = torch.zeros(1, 1, 2, 2)
    seeds = stack.seeds(1, 9, torch.Generator().manual_seed(0))
    far = stack.code(0, seeds[0, 0]).abs().flatten() * 0.1
    far, place = far.sort()
    for passed in (0, 1, 4):
        radius = float(far[passed] + far[passed - 1]) / 2 if passed else 0.0
        found = Selection(codes=(9,), radius=radius, budget=budget)(stack, gauge, left, truth, seeds)
        assert found.seeds[0, 0] == seeds[0, 0, place[passed]]
        assert float(found.distance[0, 0]) == pytest.approx(float(far[passed]), rel=1e-5)
        assert float(found.least[0, 0]) == pytest.approx(float(far[0]), rel=1e-5)
    every = Selection(codes=(9,), radius=9.0, budget=budget)(stack, gauge, left, truth, seeds)
    assert every.seeds[0, 0] == seeds[0, 0, place[-1]]


def test_what_cannot_be_chosen_among_is_refused():
    stack, gauge, left, truth, _, g = case()
    with pytest.raises(ValueError, match=r"candidates are \(N, L, K\) = \(5, 3, 8\) seeds, not \(5, 3, 4\)"):
        Selection()(stack, gauge, left, truth, stack.seeds(5, 4, g))
    for words, told in (({"codes": ()}, "at least 1 each"), ({"codes": (3, 0)}, "at least 1 each"),
                        ({"radius": -1.0}, "radius is a distance"), ({"budget": 0}, "number of answers")):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            Selection(**words)
