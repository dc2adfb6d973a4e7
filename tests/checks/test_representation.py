"""Losses over pairs, slots and free outputs: every cause fires on the mistake as people make it, and on nothing else.

Shapes: N pictures, P projection.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asking import alarming
from joints import Encoder, causes, joint, simclr, two_views
from torch import Tensor, nn

from selfsight.check import Check
from selfsight.checks.ignored_targets import IgnoredTargets
from selfsight.checks.loss_invariances import LossInvariances
from selfsight.checks.pair_signs import PairSigns
from selfsight.planted import CLASSES, Net, Quarters, tiny

QUICK = (LossInvariances(), PairSigns(), IgnoredTargets())


def whole_length(model: nn.Module, b: Any) -> Tensor:
    z = torch.cat([model(b[0]), model(b[1])])
    z = z / z.norm()
    sim = (z @ z.T / 0.2).fill_diagonal_(-1e9)
    return F.cross_entropy(sim, torch.arange(len(z)).roll(len(b[0])))


def whole_by_hand(model: nn.Module, b: Any) -> Tensor:
    def unit(z: Tensor) -> Tensor:
        return z / torch.sqrt((z * z).sum() + 1e-12)

    z1, z2 = unit(model(b[0])), unit(model(b[1]))
    return F.cross_entropy(z1 @ z2.t() / 0.1, torch.arange(len(z1)))


class NormalisedInside(Encoder):
    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return z / torch.linalg.norm(z)


def over_the_batch(model: nn.Module, b: Any) -> Tensor:
    z1, z2 = F.normalize(model(b[0]), dim=0), F.normalize(model(b[1]), dim=0)
    return F.cross_entropy(z1 @ z2.T / 0.1, torch.arange(len(z1)))


def plain_dot(model: nn.Module, b: Any) -> Tensor:
    z1, z2 = model(b[0]), model(b[1])
    return F.cross_entropy(z1 @ z2.T, torch.arange(len(z1)))


def wrong_pairs(model: nn.Module, b: Any) -> Tensor:
    """The views are stacked in two blocks, the labels are for views in turn."""
    z = F.normalize(model(torch.cat([b[0], b[1]])))
    sim = (z @ z.T / 0.5).fill_diagonal_(-1e9)
    return F.cross_entropy(sim, torch.arange(len(z)) ^ 1)


def off_by_one(model: nn.Module, b: Any) -> Tensor:
    z1, z2 = F.normalize(model(b[0])), F.normalize(model(b[1]))
    return F.cross_entropy(z1 @ z2.T / 0.2, torch.arange(1, len(z1) + 1) % len(z1))


def with_itself(model: nn.Module, b: Any) -> Tensor:
    z = F.normalize(torch.cat([model(b[0]), model(b[1])]))
    return F.cross_entropy(z @ z.T / 0.2, torch.arange(len(z)).roll(len(b[0])))


def swapped_masks(model: nn.Module, b: Any) -> Tensor:
    """The mask of positives is where that of negatives belongs."""
    z1, z2 = F.normalize(model(b[0])), F.normalize(model(b[1]))
    close, eye = torch.exp(z1 @ z2.T / 0.5), torch.eye(len(z1))
    return -torch.log((close * (1 - eye)).sum(1) / close.sum(1)).mean()


def clip(model: nn.Module, b: Any) -> Tensor:
    logits = F.normalize(model(b[0])) @ F.normalize(model(b[1])).T / 0.07
    n = torch.arange(len(logits))
    return -(logits.log_softmax(1)[n, n].mean() + logits.log_softmax(0)[n, n].mean()) / 2


def barlow_uncentred(model: nn.Module, b: Any) -> Tensor:
    c = F.normalize(model(b[0]), dim=0).T @ F.normalize(model(b[1]), dim=0)
    on = (c.diagonal() - 1).square().sum()
    return on + 0.01 * (c.square().sum() - c.diagonal().square().sum())


def barlow(model: nn.Module, b: Any) -> Tensor:
    z1, z2 = ((z - z.mean(0)) / z.std(0) for z in (model(b[0]), model(b[1])))
    c = z1.T @ z2 / len(z1)
    return (c - torch.eye(len(c))).square().sum()


def vicreg(model: nn.Module, b: Any) -> Tensor:
    z1, z2 = model(b[0]), model(b[1])
    total = 25 * F.mse_loss(z1, z2)
    for z in (z1, z2):
        total = total + 25 * F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean()
        c = torch.cov(z.T)
        total = total + (c.square().sum() - c.diagonal().square().sum()) / len(c)
    return total


def supcon(model: nn.Module, b: Any) -> Tensor:
    z, y = F.normalize(torch.cat([model(b[0]), model(b[1])])), b[2].repeat(2)
    eye = torch.eye(len(z), dtype=torch.bool)
    log_p = (z @ z.T / 0.3).masked_fill(eye, -1e9).log_softmax(1)
    positive = (y[:, None] == y) & ~eye
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def triplet(model: nn.Module, b: Any) -> Tensor:
    a, p = model(b[0]), model(b[1])
    return F.triplet_margin_loss(a, p, p.roll(1, 0), margin=1.0)


def positive_twice(model: nn.Module, b: Any) -> Tensor:
    """2N candidates as well, none of them the row itself: the positive stands first and again among the rest."""
    z = F.normalize(torch.cat([model(b[0]), model(b[1])]))
    sim = z @ z.T / 0.2
    n = len(b[0])
    positive = torch.cat([sim.diagonal(n), sim.diagonal(-n)])[:, None]
    rest = sim[~torch.eye(2 * n, dtype=torch.bool)].view(2 * n, -1)
    return F.cross_entropy(torch.cat([positive, rest], 1), torch.zeros(2 * n, dtype=torch.long))


def same_structure(model: nn.Module, b: Any) -> Tensor:
    """Relations of two examples by their distance in units of the mean distance: unmoved by one scale for all."""
    d = torch.cdist(model(b[0]), model(b[0]) + 0) + 0.0
    wanted = torch.cdist(b[1].flatten(1), b[1].flatten(1))
    return F.smooth_l1_loss(d / d.mean(), wanted / wanted.mean())


def similarity_kept(model: nn.Module, b: Any) -> Tensor:
    """Similarity-preserving distillation: rows of the Gram matrix are normalised, not the outputs."""
    z, x = model(b[0]), b[1].flatten(1)
    return (F.normalize(z @ z.T) - F.normalize(x @ x.T)).square().sum()


class SwAV(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.prototypes = Encoder(), nn.Linear(24, 12, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prototypes(F.normalize(self.encoder(x), dim=1))


def sinkhorn(scores: Tensor) -> Tensor:
    q = torch.exp(scores / 0.05).T
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / len(q)
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


def swav(model: nn.Module, b: Any) -> Tensor:
    s1, s2 = model(b[0]), model(b[1])
    with torch.no_grad():
        q1, q2 = sinkhorn(s1), sinkhorn(s2)
    return -((q1 * (s2 / 0.1).log_softmax(1)).sum(1).mean() + (q2 * (s1 / 0.1).log_softmax(1)).sum(1).mean()) / 2


class Twin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student, self.predictor = Encoder(), nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 24))
        self.slow = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.slow(y)
        return -F.cosine_similarity(self.predictor(self.student(x)), wanted).mean()


def byol(model: nn.Module, b: Any) -> Tensor:
    return model(b[0], b[1]) + model(b[1], b[0])


def interleaved() -> Iterator[Tensor]:
    for one, two, _ in two_views():
        yield torch.stack([one, two], 1).flatten(0, 1)


def in_turn(model: nn.Module, x: Tensor) -> Tensor:
    z = F.normalize(model(x))
    return F.cross_entropy((z @ z.T / 0.5).fill_diagonal_(-1e9), torch.arange(len(z)) ^ 1)


def blocks_expected(model: nn.Module, x: Tensor) -> Tensor:
    z = F.normalize(model(x))
    return F.cross_entropy((z @ z.T / 0.5).fill_diagonal_(-1e9), torch.arange(len(z)).roll(len(z) // 2))


HEALTHY_JOINT = {
    "simclr": joint(simclr),
    "simclr without views": joint(simclr, views=None, batches=lambda: (b[:2] for b in two_views())),
    "clip": joint(clip),
    "dot products": joint(plain_dot),
    "barlow": joint(barlow),
    "barlow uncentred": joint(barlow_uncentred),
    "vicreg": joint(vicreg),
    "supervised contrastive": joint(supcon),
    "triplet": joint(triplet),
    "positive twice": joint(positive_twice),
    "relational": joint(same_structure),
    "similarity-preserving": joint(similarity_kept),
    "swav": joint(swav, SwAV),
    "byol": joint(byol, Twin),
    "in turn": joint(in_turn, batches=interleaved, views=lambda x: (x[0::2], x[1::2])),
}


@pytest.mark.parametrize("name", HEALTHY_JOINT)
def test_healthy_joint_embeddings_are_left_alone(name: str) -> None:
    for check in QUICK:
        assert alarming(check, HEALTHY_JOINT[name]) == []


@pytest.mark.parametrize(("loss", "component"), [(whole_length, "loss"), (whole_by_hand, "loss"), (plain_dot, "model")])
def test_one_length_for_the_whole_batch(loss: Any, component: str) -> None:
    program = joint(loss, NormalisedInside if component == "model" else Encoder)
    (finding,) = alarming(LossInvariances(), program)
    assert (finding.cause, finding.component) == ("whole-tensor-normalise", component)
    assert finding.place.file == __file__


def test_one_length_for_both_views_of_one_call() -> None:
    def both(model: nn.Module, b: Any) -> Tensor:
        z = model(torch.cat([b[0], b[1]]))
        sim = (z / z.norm() @ z.T / z.norm() / 0.2).fill_diagonal_(-1e9)
        return F.cross_entropy(sim, torch.arange(len(z)).roll(len(b[0])))

    assert causes(LossInvariances(), joint(both)) == {"whole-tensor-normalise"}


def test_features_normalised_over_the_batch() -> None:
    assert causes(LossInvariances(), joint(over_the_batch)) == {"normalises-over-batch"}


@pytest.mark.parametrize("dim", [0, -2])
def test_softmax_over_the_batch(dim: int) -> None:
    program = tiny(loss=lambda model, b: F.nll_loss(F.log_softmax(model(b[0]), dim=dim), b[1]))
    assert causes(LossInvariances(), program) == {"normalises-over-batch"}
    other = tiny(loss=lambda model, b: F.nll_loss(F.log_softmax(model(b[0]), dim=dim + 1), b[1]))
    assert alarming(LossInvariances(), other) == []


@pytest.mark.parametrize(
    ("loss", "cause"),
    [
        (wrong_pairs, "pair-signs"),
        (off_by_one, "pair-signs"),
        (with_itself, "pair-signs"),
        (swapped_masks, "pair-signs"),
        (lambda model, b: -simclr(model, b), "sign-flipped"),
        (lambda model, b: -clip(model, b), "sign-flipped"),
        (lambda model, b: -vicreg(model, b), "sign-flipped"),
        (lambda model, b: -triplet(model, b), "sign-flipped"),
    ],
)
def test_pairs_the_wrong_way_round(loss: Any, cause: str) -> None:
    assert causes(PairSigns(), joint(loss)) == {cause}


def test_views_in_turn_where_blocks_are_expected() -> None:
    program = joint(blocks_expected, batches=interleaved, views=lambda x: (x[0::2], x[1::2]))
    assert causes(PairSigns(), program) == {"pair-signs"}


def test_wrong_pairs_show_without_views_and_labels() -> None:
    program = joint(wrong_pairs, views=None, batches=lambda: (b[:2] for b in two_views()))
    assert causes(PairSigns(), program) == {"pair-signs"}


# ------------------------------------------------------------------------------------------------------ with targets


def pseudo(model: nn.Module, b: Any) -> Tensor:
    said = model(b[0])
    return F.cross_entropy(said, said.detach().argmax(1))


def all_zero(model: nn.Module, b: Any) -> Tensor:
    return F.cross_entropy(model(b[0]), torch.zeros_like(b[1]))


@pytest.mark.parametrize("loss", [pseudo, all_zero])
def test_targets_that_nothing_reads(loss: Any) -> None:
    (finding,) = alarming(IgnoredTargets(), tiny(loss=loss))
    assert finding.cause == "ignores-targets" and finding.evidence["ignored"] == "[1]"


class Scores(nn.Module):
    """A bag of pictures is one example: attention over the bag is a softmax over its instances."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.score = Net(), nn.Linear(CLASSES, 2)

    def forward(self, bag: Tensor) -> Tensor:
        h = self.net(bag)
        return (self.score(h).softmax(0).T @ h).mean(0)


def bags() -> Iterator[tuple[Tensor, Tensor]]:
    data = Quarters()
    for rows in torch.randperm(len(data)).split(8):
        yield data.pictures[rows], data.labels[rows].max()


class Reader(nn.Module):
    """Sequence first: dimension 0 is time."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out, self.look = nn.LSTM(8, 12), nn.Linear(12, CLASSES), nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(x[:, 0].transpose(0, 1))
        return (self.look(h).softmax(0) * self.out(h)).sum(0)


def correlation(model: nn.Module, b: Any) -> Tensor:
    said, wanted = model(b[0])[:, 0], b[1].float()
    said, wanted = said - said.mean(), wanted - wanted.mean()
    return 1 - (said * wanted).sum() / (said.norm() * wanted.norm() + 1e-8)


HEALTHY_TARGETS = {
    "classes": tiny(),
    "cosine classes": tiny(loss=lambda m, b: F.cross_entropy(F.normalize(m(b[0])) / 0.1, b[1])),
    "bags": tiny(batches=bags, model=Scores, loss=lambda m, b: F.cross_entropy(m(b[0])[None], b[1][None])),
    "sequence first": tiny(model=Reader, loss=lambda m, b: F.cross_entropy(m(b[0]), b[1])),
    "correlation": tiny(loss=correlation),
    "labels left alone": tiny(loss=lambda m, b: F.mse_loss(m(b[0]), b[0].mean((1, 2, 3))[:, None].expand(-1, 3))),
}


@pytest.mark.parametrize("name", HEALTHY_TARGETS)
def test_healthy_targets_are_left_alone(name: str) -> None:
    for check in QUICK:
        assert alarming(check, HEALTHY_TARGETS[name]) == []


@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.code)
def test_each_check_passes_its_own_test(check: Check) -> None:
    sick, well = check.planted()
    assert alarming(check, sick) and not alarming(check, well)
