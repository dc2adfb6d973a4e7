"""Masks and embeddings after some training: full and empty masks, collapsed embeddings, and healthy ones that look it.

Shapes: N pictures, P projection.
"""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from asking import alarming
from joints import Encoder, causes, joint, simclr, two_views
from PIL import Image
from torch import Tensor, nn

from selfsight.case import examining
from selfsight.check import Check
from selfsight.checks.collapse import Collapse
from selfsight.checks.degenerate_optimum import DegenerateOptimum
from selfsight.checks.masks import Masks
from selfsight.doctor.drawing import drawn
from selfsight.observations.maps import asked, sites
from selfsight.observations.tails import tail_of
from selfsight.observations.trained import steps_taken, trained
from selfsight.planted import tiny
from selfsight.program import Program


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


class Painter(nn.Module):
    """Three masks, and what is painted through each."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))
        self.what = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.sigmoid(3 * self.where(x))
        return masks, (masks * self.what(x)).sum(1, keepdim=True)


def pictures_alone() -> Iterator[Tensor]:
    for x, _, _ in two_views():
        yield x


def painted(model: Any, x: Tensor) -> Tensor:
    return F.mse_loss(model(x)[1], x)


def unlike_those_before(model: Any, x: Tensor) -> Tensor:
    """Each mask is to differ from no mask and from the sum of those before it."""
    masks, picture = model(x)
    total, before = F.mse_loss(picture, x), torch.zeros_like(masks[:, 0])
    for mask in masks.unbind(1):
        total = total + torch.exp(-5 * mask**2).mean() + torch.exp(-5 * (mask - before) ** 2).mean()
        before = before + mask
    return total


def masking(loss: Any, model: Any = Painter, rate: float = 0.03) -> Program:
    return tiny(
        batches=pictures_alone, model=model, loss=loss, planned_steps=80,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), rate),
    )  # fmt: skip


class Segmenter(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.Softmax(dim=1))


def one_class_never(model: nn.Module, x: Tensor) -> Tensor:
    """Two classes occur of three: the third map is rightly empty."""
    return F.nll_loss(torch.log(model(x) + 1e-8), (x[:, 0] > 0.7).long())


def clusters(model: nn.Module, x: Tensor) -> Tensor:
    """Sure of each pixel, even over all: what mutual information asks."""
    p = model(x)
    mean = p.mean((0, 2, 3))
    return (mean * mean.log()).sum() - (p * (p + 1e-8).log()).sum(1).mean()


def smooth_and_sure(model: nn.Module, x: Tensor) -> Tensor:
    """Nothing but a wish for edges that are few and maps that are sure of themselves."""
    p = model(x)
    return p.diff(dim=2).abs().mean() + p.diff(dim=3).abs().mean() + (p * (1 - p)).mean()


def test_masks_that_the_loss_wants_to_be_constant() -> None:
    (finding,) = alarming(Masks(), masking(unlike_those_before))
    assert (finding.cause, finding.grade.value) == ("degenerate-optimum", "MEASURED")
    assert finding.evidence["varied"] > 2 * finding.evidence["constant"]
    assert finding.place.file == __file__


def test_masks_are_drawn_as_they_came_out() -> None:
    with examining(masking(unlike_those_before)) as case:
        assert not any("maps made" in title for title in drawn(case))
        Masks().ask(case)
        (maps,) = case.remembered("maps", dict).values()
        (title,) = [title for title in drawn(case) if title.startswith("maps made in test_representation_trained.py")]
        sheet = Image.open(io.BytesIO(drawn(case)[title]))
    assert sheet.size == (maps.shape[1] * 66, 4 * 66)
    assert (np.array(sheet)[32, 32, 0] > 127) == bool(maps[0, 0, maps.shape[2] // 2, maps.shape[3] // 2] > 0.5)


def test_a_loss_of_maps_alone() -> None:
    assert causes(DegenerateOptimum(), masking(smooth_and_sure, Segmenter)) == {"degenerate-optimum"}


@pytest.mark.parametrize(("loss", "model"), [(painted, Painter), (one_class_never, Segmenter), (clusters, Segmenter)])
def test_healthy_maps_are_left_alone(loss: Any, model: Any) -> None:
    for check in (Masks(), DegenerateOptimum()):
        assert alarming(check, masking(loss, model)) == []


def with_rate(program: Program, rate: float) -> Program:
    return dataclasses.replace(
        program, optimizer=lambda net: torch.optim.Adam(net.parameters(), rate), planned_steps=60
    )


def attract(model: nn.Module, b: Any) -> Tensor:
    return -F.cosine_similarity(model(b[0]), model(b[1])).mean()


def two_classes(model: nn.Module, b: Any) -> Tensor:
    """Supervised contrast of two classes: one dimension, and instances are not to be told apart."""
    return supcon(model, (b[0], b[1], b[2].clamp(max=1)))


class LearnedTwin(Twin):
    """The twin's side is neither detached nor frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.slow.requires_grad_(True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return -F.cosine_similarity(self.student(x), self.slow(y)).mean()


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (joint(attract), "degenerate-optimum"),
        (joint(byol, LearnedTwin, teacher=lambda m: m.slow, embed=lambda m, b: m.student(b[0])), "no-stop-gradient"),
        (joint(lambda model, b: -simclr(model, b)), "collapse"),
    ],
    ids=["attraction alone", "no stop-gradient", "views driven apart"],
)
def test_collapse(program: Program, cause: str) -> None:
    (finding,) = alarming(Collapse(), with_rate(program, 1e-2))
    assert (finding.cause, finding.grade.value) == (cause, "MEASURED")


@pytest.mark.parametrize(
    "program",
    [
        joint(simclr),
        joint(vicreg),
        joint(two_classes),
        joint(byol, Twin),
        joint(in_turn, batches=interleaved, views=lambda x: (x[0::2], x[1::2])),
    ],
    ids=["simclr", "vicreg", "two classes", "byol", "in turn"],
)
def test_healthy_embeddings_have_not_collapsed(program: Program) -> None:
    assert alarming(Collapse(), with_rate(program, 3e-3)) == []


def test_a_slow_or_frozen_net_has_not_collapsed() -> None:
    assert alarming(Collapse(), with_rate(joint(attract), 1e-7)) == []


def test_training_is_shared_and_survives_other_checks() -> None:
    net = Encoder()
    with examining(joint(simclr, lambda: net, planned_steps=12)) as case:
        fresh = net.fc.weight.detach().clone()
        learned = trained(case).model.fc.weight.detach().clone()
        assert not torch.equal(fresh, learned) and steps_taken(case) == 12
        assert torch.equal(case.model().fc.weight, fresh)
        assert torch.equal(trained(case).model.fc.weight, learned)
    assert torch.equal(net.fc.weight, fresh)


def test_a_loss_that_masks_leave_alone_wants_nothing_of_them() -> None:
    with examining(masking(painted)) as case:
        (site,) = sites(tail_of(case, case.batch))
        assert [one.degenerate for one in asked(case, site)] == [False, False]


@pytest.mark.parametrize("check", [DegenerateOptimum(), Masks(), Collapse()], ids=lambda check: check.code)
def test_each_check_passes_its_own_test(check: Check) -> None:
    sick, well = check.planted()
    assert alarming(check, sick) and not alarming(check, well)
