"""The plain engine of one processor is lightning-fabric's, bit by bit, and imports neither it nor torch's compiler."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

import selfsight
from selfsight import engine
from selfsight.adamw import AdamW
from selfsight.encoders import Small
from selfsight.engine import Plain, solitary
from selfsight.optimizer import Optimization
from selfsight.plan import build
from selfsight.sources import InMemory
from selfsight.train import State, train


def state(photographs, made, task, **settings):
    recipe = selfsight.Recipe(data=InMemory(photographs), task=task, encoder=Small(width=8))
    return State(task, build(recipe, 32, 3), Optimization(**settings), made, steps=4, seed=1)


def fabric(precision):
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def trained(photographs, made, task, accumulate=1, **settings):
    begun = state(photographs, made, task, **settings)
    losses = [step.loss for step in train(begun, photographs, np.arange(240), batch=32, accumulate=accumulate)]
    return losses, begun.tensors()


@pytest.mark.parametrize("precision", Plain.PRECISIONS)
@pytest.mark.parametrize(
    "settings", [{}, {"clip": 0.1}, {"accumulate": 2}, {"name": "lars", "rate": 0.1}], ids=lambda given: str(given)
)
@pytest.mark.parametrize(
    "task", [selfsight.SimCLR(hidden=32), selfsight.BYOL(hidden=32)], ids=lambda t: type(t).__name__
)
def test_both_give_the_same_bits(photographs, precision, settings, task):
    one, other = (trained(photographs, made(precision), task, **settings) for made in (Plain, fabric))
    assert one[0] == other[0]
    assert list(one[1]) == list(other[1])
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


@pytest.mark.parametrize(
    "task",
    [
        selfsight.Together(tasks=(selfsight.Rotation(), selfsight.SimCLR(hidden=32))),
        selfsight.Restore(),
        selfsight.Tokens(),
        selfsight.Patchwork(),
        selfsight.Decompose(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_both_give_the_same_bits_of_every_kind_of_task(photographs, task):
    one, other = (trained(photographs, made("bf16-mixed"), task) for made in (Plain, fabric))
    assert one[0] == other[0]
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


def test_what_one_saved_the_other_goes_on_with(photographs):
    task, halves = selfsight.SimCLR(hidden=32), []
    for first, second in ((Plain, fabric), (fabric, Plain)):
        begun = state(photographs, first("32-true"), task)
        for _, _ in zip(range(2), train(begun, photographs, np.arange(240), batch=32), strict=False):
            pass
        after = state(photographs, second("32-true"), task)
        after.restore(begun.tensors(), begun.step)
        halves.append([step.loss for step in train(after, photographs, np.arange(240), batch=32)])
    assert halves[0] == halves[1] == trained(photographs, Plain("32-true"), task)[0][-len(halves[0]) :]


def test_a_part_that_rests_is_left_alone():
    moved, rests = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = AdamW([{"params": [moved, rests], "weight_decay": 0.5}], rate=0.1)
    moved.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(rests, torch.ones(3)) and rests not in optimizer.state and (moved < 0.9).all()
    optimizer.zero_grad()
    assert moved.grad is None


def test_other_numbers_and_other_optimizers_are_torchs(photographs):
    recipe = selfsight.Recipe(data=InMemory(photographs), encoder=Small(width=4))
    model = build(recipe, 32, 3)
    assert isinstance(Optimization().build(model, {}, light=True), AdamW)
    assert isinstance(Optimization().build(model, {}), torch.optim.AdamW)
    assert isinstance(Optimization().build(model.double(), {}, light=True), torch.optim.AdamW)
    assert isinstance(Optimization(name="lars").build(model, {}, light=True), torch.optim.Optimizer)


def test_an_accelerator_is_fabrics(monkeypatch):
    monkeypatch.setattr(engine, "_is_accelerated", lambda: False)
    assert isinstance(solitary("bf16-mixed"), Plain)
    monkeypatch.setattr(engine, "_is_accelerated", lambda: True)
    assert isinstance(solitary("bf16-mixed"), Fabric)


def test_a_gradient_that_is_no_number_is_not_clipped_away(photographs):
    begun = state(photographs, Plain("32-true"), selfsight.Rotation(), clip=1.0)
    for parameter in begun.model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    with pytest.raises(RuntimeError, match="non-finite"):
        begun.fabric.clip_gradients(begun.wrapped, begun.engine, max_norm=1.0)


TRAINED = """
import sys, tempfile
import numpy as np
import selfsight

images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
import selfsight.workbench as workbench

def look(*given):
    for name in ("torch._dynamo", "lightning_fabric", "timm", "torchvision", "sklearn"):
        assert name not in sys.modules, name
    raise SystemExit(7)

workbench._record = look
selfsight.pretrain(images, steps=2, batch=16, out=tempfile.mkdtemp() + "/run", doctor="off")
"""


@pytest.mark.skipif(engine._is_accelerated(), reason="an accelerator is lightning-fabric's")
def test_neither_is_imported_for_a_step():
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
