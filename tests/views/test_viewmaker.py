"""An adversary's views: a fixed budget, a reversed gradient, and the same pictures when asked again."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console
from torch import nn

import selfsight
from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import BYOL, SimCLR, VICReg
from selfsight.views import ViewmakerViews
from selfsight.views.viewmaker import reversed_gradient

SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


@pytest.fixture
def batch(photographs) -> Batch:
    return Batch(torch.from_numpy(photographs[:24]).permute(0, 3, 1, 2), torch.arange(24))


def asked(task, batch):
    torch.manual_seed(0)
    encoder = Small(width=4).build(3, 32).train()
    return Model(encoder, task.parts(encoder)), task.prepare(batch, Now(0, 10, generator("x")))


@pytest.mark.parametrize("budget", [0.02, 0.2])
def test_a_change_of_the_budgets_size(batch, budget):
    task = SimCLR(views=ViewmakerViews(budget=budget, views=SAME))
    model, example = asked(task, batch)
    made, more = task.views.pictures(model.parts, example)
    change = (made - example.inputs).abs().mean((2, 3, 4))
    assert torch.allclose(more["changed"], change.flatten(), atol=1e-6)
    assert (change <= budget + 1e-4).all() and change.mean() > budget / 2, "clamping alone makes it less"
    assert not torch.allclose(made[:, 0], made[:, 1]), "each picture has noise of its own"
    again, _ = task.views.pictures(model.parts, example)
    assert torch.equal(made, again)


def test_the_gradient_is_reversed_and_the_encoders_is_not(batch):
    """A step down the gradient that the adversary gets makes the loss larger, one of the encoder's smaller."""
    task = SimCLR(views=ViewmakerViews(views=SAME, budget=0.2))
    for part, rises in (("viewmaker", True), ("encoder", False)):
        model, example = asked(task, batch)
        before = task.loss(task.predict(model, example), example).loss
        before.backward()
        moved = model.parts["viewmaker"] if rises else model.encoder
        with torch.no_grad():
            length = sum(p.grad.square().sum() for p in moved.parameters()).sqrt()
            for p in moved.parameters():
                p -= 0.05 * p.grad / length
        after = task.loss(task.predict(model, example), example).loss
        assert (after > before) == rises, part


def test_strength_multiplies_what_comes_back():
    x = torch.ones(3, requires_grad=True)
    (reversed_gradient(x, 2.5) * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [-2.5, 5.0, -7.5]


@pytest.mark.parametrize("kind", [SimCLR, VICReg, BYOL])
def test_any_task_that_compares_views_learns_against_it(kind, photo_folder, tmp_path):
    run = selfsight.pretrain(
        photo_folder, task=kind(views=ViewmakerViews(width=4)), out=tmp_path / "a", steps=3, batch=24, size=32,
        encoder=Small(width=4), doctor="off", console=Console(quiet=True),
    )  # fmt: skip
    lines = run.lines("series")
    assert all(0 < line["changed"] < 0.06 for line in lines)


def test_what_cannot_be_is_refused():
    for wrong in ({"budget": 0.0}, {"budget": 0.9}, {"width": 0}, {"strength": -1.0}):
        with pytest.raises(ValueError, match="budget is a mean change"):
            ViewmakerViews(**wrong)
    assert isinstance(ViewmakerViews().parts(1)["viewmaker"], nn.Module)
