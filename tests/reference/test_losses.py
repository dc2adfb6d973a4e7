"""The losses against slow restatements, written from the papers with loops and float64."""

from __future__ import annotations

import math

import pytest
import torch

from selfsight.batch import Example
from selfsight.maths.contrast import n_pair, nt_xent, nt_xent_constant, triplet
from selfsight.maths.redundancy import covariance, variance
from selfsight.seeds import generator
from selfsight.tasks import BYOL, Rotation, SimCLR, VICReg

N, P = 7, 5
NOTHING = Example(inputs=torch.zeros(N, 2, 1, 4, 4), index=torch.arange(N))


@pytest.fixture
def z() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator("reference")
    return torch.randn(N, P, generator=draw) * 3, torch.randn(N, P, generator=draw) + 0.5


def cosine(u: list[float], v: list[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v))


def slow_nt_xent(z1, z2, temperature) -> float:
    """Chen et al. 2020, algorithm 1: z_{2k-1} and z_{2k} are the views of image k."""
    views = [row.tolist() for pair in zip(z1, z2, strict=True) for row in pair]
    total = 0.0
    for i in range(2 * N):
        j = i + 1 if i % 2 == 0 else i - 1
        others = [math.exp(cosine(views[i], views[k]) / temperature) for k in range(2 * N) if k != i]
        total += -math.log(math.exp(cosine(views[i], views[j]) / temperature) / sum(others))
    return total / (2 * N)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_nt_xent(z, temperature):
    loss, _ = nt_xent(*z, temperature)
    assert float(loss) == pytest.approx(slow_nt_xent(*z, temperature), rel=1e-5)


def test_nt_xent_knows_when_the_partner_is_found(z):
    assert nt_xent(z[0], z[0] + 1e-3, 0.1)[1] == 1
    assert nt_xent(z[0], z[0].roll(1, 0), 0.1)[1] == 0


def test_nt_xent_of_equal_embeddings_is_its_constant():
    same = torch.ones(N, P)
    assert float(nt_xent(same, same, 0.2)[0]) == pytest.approx(nt_xent_constant(N), rel=1e-6)


def test_simclr_is_nt_xent(z):
    task = SimCLR(temperature=0.3)
    outcome = task.loss({"first": z[0], "second": z[1]}, NOTHING)
    assert float(outcome.loss) == pytest.approx(slow_nt_xent(*z, 0.3), rel=1e-5)


def slow_triplet(z1, z2, margin) -> float:
    """Schroff et al. 2015, equation 2, on unit vectors; the other of anchor i is positive i + 1."""

    def squared(u, v):
        unit = [[x / math.hypot(*w) for x in w] for w in (u, v)]
        return sum((a - b) ** 2 for a, b in zip(*unit, strict=True))

    anchors, seconds = z1.tolist(), z2.tolist()
    total = 0.0
    for i in range(N):
        total += max(0.0, squared(anchors[i], seconds[i]) - squared(anchors[i], seconds[(i + 1) % N]) + margin)
    return total / N


@pytest.mark.parametrize("margin", [0.2, 1.0, 3.0])
def test_triplet(z, margin):
    assert float(triplet(*z, margin)[0]) == pytest.approx(slow_triplet(*z, margin), rel=1e-5)
    assert triplet(z[0], z[0], margin)[1] == 1
    assert triplet(z[0], z[0].roll(1, 0), margin)[1] == 0
    assert triplet(torch.ones(N, P), torch.ones(N, P), margin)[1] == 0.5


def slow_n_pair(z1, z2, shortness) -> float:
    """Sohn 2016, equation 6 for each anchor, and the mean squared length of its section 3.2.2."""
    anchors, positives = z1.tolist(), z2.tolist()

    def product(u, v):
        return sum(a * b for a, b in zip(u, v, strict=True))

    total = 0.0
    for i in range(N):
        wrong = [product(anchors[i], positives[j]) - product(anchors[i], positives[i]) for j in range(N) if j != i]
        total += math.log(1 + sum(math.exp(x) for x in wrong))
        total += shortness * (product(anchors[i], anchors[i]) + product(positives[i], positives[i]))
    return total / N


@pytest.mark.parametrize("shortness", [0.0, 0.1])
def test_n_pair(z, shortness):
    assert float(n_pair(*z, shortness)[0]) == pytest.approx(slow_n_pair(*z, shortness), rel=1e-5)
    assert n_pair(torch.eye(N), torch.eye(N))[1] == 1
    assert n_pair(torch.eye(N), torch.eye(N).roll(1, 0))[1] == 0


def slow_vicreg(z1, z2, invariance, mu, nu) -> float:
    """Bardes et al. 2022, equations 1 to 6, with means over N and sums over d written out."""

    def v(z):
        short = 0.0
        for j in range(P):
            column = [float(z[i, j]) for i in range(N)]
            middle = sum(column) / N
            var = sum((x - middle) ** 2 for x in column) / (N - 1)
            short += max(0.0, 1 - math.sqrt(var + 1e-4))
        return short / P

    def c(z):
        middle = [sum(float(z[i, j]) for i in range(N)) / N for j in range(P)]
        total = 0.0
        for a in range(P):
            for b in range(P):
                if a != b:
                    cov = sum((float(z[i, a]) - middle[a]) * (float(z[i, b]) - middle[b]) for i in range(N)) / (N - 1)
                    total += cov**2
        return total / P

    # The paper's s is a sum over dimensions; its code, and so its weights, use the mean squared error.
    s = sum((float(z1[i, j]) - float(z2[i, j])) ** 2 for i in range(N) for j in range(P)) / (N * P)
    return invariance * s + mu * (v(z1) + v(z2)) + nu * (c(z1) + c(z2))


def test_vicreg(z):
    small = z[0] * 0.2, z[1]  # one view below the variance the hinge asks for
    outcome = VICReg().loss({"first": small[0], "second": small[1]}, NOTHING)
    assert float(outcome.loss) == pytest.approx(slow_vicreg(*small, 25, 25, 1), rel=1e-5)
    assert variance(small[0]) > 0
    assert covariance(z[0]) > 0


def test_byol(z):
    """Grill et al. 2020, equation 2, both ways."""
    a, b, c, d = z[0], z[1], z[1].roll(1, 0), z[0].roll(2, 0)
    outcome = BYOL(projection=P).loss({"first": a, "second": b, "first seen": c, "second seen": d}, NOTHING)
    slow = (
        sum(2 - 2 * cosine(p.tolist(), q.tolist()) for p, q in [*zip(a, d, strict=True), *zip(b, c, strict=True)]) / N
    )
    assert float(outcome.loss) == pytest.approx(slow, rel=1e-5)


def test_byol_twin_moves_as_the_paper_says(photographs):
    """xi <- tau xi + (1 - tau) theta, tau = 1 - (1 - tau_base)(cos(pi k / K) + 1) / 2; no gradient into the twin."""
    from selfsight.batch import Batch, Now
    from selfsight.encoders import Small
    from selfsight.task import Model

    task = BYOL(momentum=0.9)
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    own, other = next(model.encoder.parameters()), next(model.parts["twin"].parameters())
    assert torch.equal(own, other)
    with torch.no_grad():
        own.add_(1.0)
    before = other.clone()
    at = Now(3, 10, generator("x"))
    example = task.prepare(Batch(torch.from_numpy(photographs[:8]).permute(0, 3, 1, 2), torch.arange(8)), at)
    prediction = task.predict(model, example)
    task.loss(prediction, example).loss.backward()
    assert all(p.grad is None for p in model.parts["twin"].parameters())
    task.after_step(model, example, prediction, at)
    tau = 1 - (1 - 0.9) * (math.cos(math.pi * 3 / 10) + 1) / 2
    assert torch.allclose(other, tau * before + (1 - tau) * own, atol=1e-6)


def test_rotation_shows_each_position_equally_often_and_truthfully(photographs):
    from selfsight.batch import Batch, Now
    from selfsight.images.views import Views

    task = Rotation(views=Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle())
    images = torch.from_numpy(photographs[:40]).permute(0, 3, 1, 2)
    example = task.prepare(Batch(images, torch.arange(40)), Now(0, 1, generator("turns")))
    assert example.answer.bincount().tolist() == [10, 10, 10, 10]
    for image, shown, turn in zip(images, example.inputs, example.answer, strict=True):
        assert torch.allclose(torch.rot90(image.float() / 255, int(turn), (-2, -1)), shown[0], atol=1e-5)
    logits = torch.randn(40, 4, generator=generator("logits"))
    slow = (
        -sum(
            math.log(math.exp(row[t]) / sum(map(math.exp, row)))
            for row, t in zip(logits.tolist(), example.answer.tolist(), strict=True)
        )
        / 40
    )
    assert float(task.loss({"logits": logits}, example).loss) == pytest.approx(slow, rel=1e-5)
