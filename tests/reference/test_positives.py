"""Losses of several positives against slow restatements, with loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from selfsight.batch import Example
from selfsight.maths.contrast import (
    farthest,
    multi_positive,
    multi_positive_constant,
    nt_xent,
    summed_positive,
)
from selfsight.maths.redundancy import disagreement
from selfsight.seeds import generator
from selfsight.tasks import BYOL, SimCLR, VICReg

N, V, P = 5, 3, 4
NOTHING = Example(inputs=torch.zeros(N, V, 1, 4, 4), index=torch.arange(N))
ORDINALS = ("first", "second", "picture 3")


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(N, V, P, generator=generator("positives")) + 0.3


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.rand(N, V, generator=generator("weights")) + 0.1


def alike(z, temperature):
    unit = F.normalize(z.double(), dim=2)
    return [
        [[[float(unit[i, a] @ unit[j, b]) / temperature for b in range(V)] for j in range(N)] for a in range(V)]
        for i in range(N)
    ]


def slow_multi_positive(z, temperature, weight=None) -> float:
    """Khosla et al. 2020, equation 2: log inside; A(i) is everyone but i itself."""
    s, total, counted = alike(z, temperature), 0.0, 0.0
    for i in range(N):
        for a in range(V):
            everyone = sum(math.exp(s[i][a][j][b]) for j in range(N) for b in range(V) if (j, b) != (i, a))
            for b in range(V):
                if b != a:
                    w = 1.0 if weight is None else float(weight[i, a] * weight[i, b])
                    total -= w * math.log(math.exp(s[i][a][i][b]) / everyone)
                    counted += w
    return total / counted


def slow_summed(z, temperature) -> float:
    """The log outside, and i = j inside the sum."""
    s, total = alike(z, temperature), 0.0
    for i in range(N):
        own = sum(math.exp(s[i][a][i][b]) for a in range(V) for b in range(V))
        every = sum(math.exp(s[i][a][j][b]) for a in range(V) for j in range(N) for b in range(V))
        total -= math.log(own / every)
    return total / N


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_multi_positive(z, weight, temperature):
    assert float(multi_positive(z, temperature)[0]) == pytest.approx(slow_multi_positive(z, temperature), rel=1e-5)
    weighed = multi_positive(z, temperature, weight)[0]
    assert float(weighed) == pytest.approx(slow_multi_positive(z, temperature, weight), rel=1e-5)
    assert float(weighed) != pytest.approx(slow_multi_positive(z, temperature), rel=1e-3)


def test_multi_positive_of_two_is_nt_xent(z):
    one, right = multi_positive(z[:, :2], 0.2)
    other, also = nt_xent(z[:, 0], z[:, 1], 0.2)
    assert float(one) == pytest.approx(float(other), rel=1e-6)
    assert right == also


def test_summed_positive(z):
    assert float(summed_positive(z, 0.5)[0]) == pytest.approx(slow_summed(z, 0.5), rel=1e-5)


def test_constants_are_those_of_equal_embeddings():
    same = torch.ones(N, V, P)
    assert float(multi_positive(same, 0.2)[0]) == pytest.approx(multi_positive_constant(N, V), rel=1e-6)
    assert float(summed_positive(same, 0.2)[0]) == pytest.approx(multi_positive_constant(N, V, "sum"), rel=1e-6)


def test_the_sum_calls_right_angles_solved_and_hardly_pulls():
    """Two images, two pictures each, all four at right angles to one another: nothing is known of what belongs together.
    Each for itself says ln 3, as of any four that are alike; the sum says almost 0, and pulls 2000 times less."""
    right_angles = torch.eye(4).reshape(2, 2, 4)
    pulls, losses = [], []
    for loss in (multi_positive, summed_positive):
        z = right_angles.clone().requires_grad_()
        value = loss(z, 0.1)[0]
        value.backward()
        losses.append(float(value.detach()))
        pulls.append(float(z.grad.norm()))
    assert losses[0] == pytest.approx(math.log(3), abs=1e-4)
    assert losses[1] < 2e-4
    assert pulls[1] < pulls[0] / 2000


def test_without_itself_the_sum_would_have_pulled():
    """The defect is i = j: the same formula with each picture's product with itself left out is as far from solved."""
    z = torch.eye(4).reshape(2, 2, 4)
    flat = z.flatten(0, 1)
    logits = flat @ flat.T / 0.1
    logits.fill_diagonal_(float("-inf"))
    own = torch.stack([logits[:2, :2].logsumexp((0, 1)), logits[2:, 2:].logsumexp((0, 1))])
    every = torch.stack([logits[:2].logsumexp((0, 1)), logits[2:].logsumexp((0, 1))])
    assert float((every - own).mean()) == pytest.approx(math.log(3), abs=1e-4)


def test_farthest(z):
    unit = F.normalize(z, dim=2)
    for i, (a, b) in enumerate(farthest(unit).tolist()):
        cosines = {(p, q): float(unit[i, p] @ unit[i, q]) for p in range(V) for q in range(p + 1, V)}
        assert (a, b) == min(cosines, key=cosines.get)
    for i, (a, b) in enumerate(farthest(unit, with_first=True).tolist()):
        assert a == 0
        assert b == min(range(1, V), key=lambda q: float(unit[i, 0] @ unit[i, q]))


def test_disagreement(z, weight):
    far, total = 0.0, 0.0
    for i in range(N):
        for a in range(V):
            for b in range(a):
                w = float(weight[i, a] * weight[i, b])
                far += w * float((z[i, a] - z[i, b]).square().mean())
                total += w
    assert float(disagreement(z, weight)) == pytest.approx(far / total, rel=1e-5)
    assert float(disagreement(z[:, :2])) == pytest.approx(float(F.mse_loss(z[:, 0], z[:, 1])), rel=1e-6)


def prediction(z, suffix=""):
    return {name + suffix: z[:, i] for i, name in enumerate(ORDINALS)}


def weighing(weight):
    return Example(inputs=NOTHING.inputs, index=NOTHING.index, extras={"weight": weight})


def test_tasks_use_them(z, weight):
    assert float(SimCLR(temperature=0.3).loss(prediction(z), weighing(weight)).loss) == pytest.approx(
        slow_multi_positive(z, 0.3, weight), rel=1e-5
    )
    summed = SimCLR(temperature=0.3, positives="sum").loss(prediction(z), NOTHING)
    assert float(summed.loss) == pytest.approx(slow_summed(z, 0.3), rel=1e-5)
    outcome = VICReg().loss(prediction(z), weighing(weight))
    assert float(outcome.measures["invariance"]) == pytest.approx(float(disagreement(z, weight)), rel=1e-5)


def test_byol_of_three_is_the_mean_over_ordered_pairs(z, weight):
    seen = z.roll(1, 0)
    cosine = torch.nn.functional.cosine_similarity
    far, total = 0.0, 0.0
    for a in range(V):
        for b in range(V):
            if a != b:
                w = weight[:, a] * weight[:, b]
                far += float((w * (2 - 2 * cosine(z[:, a], seen[:, b]))).sum())
                total += float(w.sum())
    outcome = BYOL(projection=P).loss({**prediction(z), **prediction(seen, " seen")}, weighing(weight))
    assert float(outcome.loss) == pytest.approx(2 * far / total, rel=1e-5)
