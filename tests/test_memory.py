"""Memory is foreseen before the first step: near what a training really takes, and refused where it is not there."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

import selfsight
from selfsight import memory
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.memory import Kept, foreseen, free
from selfsight.sources import InMemory

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
MEASURED = """
import resource, sys
import numpy as np
import selfsight
from selfsight.allocator import keep_memory
from selfsight.memory import foreseen
from selfsight.plan import build, resident, solitary
from selfsight.sources import InMemory
from selfsight.train import State, advance

keep_memory()
images = np.random.default_rng(0).integers(0, 256, (256, 48, 48, 3), dtype=np.uint8)
recipe = selfsight.Recipe(data=InMemory(images), task=selfsight.SimCLR(), precision="32-true")
told = foreseen(recipe, images, np.arange(256), 256)
before = int(open("/proc/self/statm").read().split()[1]) * 4096
state = State(recipe.task, build(recipe, 48, 3), recipe.optimizer, solitary("32-true"), steps=9, seed=0)
for _ in range(2):
    advance(state, [resident(state.fabric, images, np.arange(256))])
print(told / (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def recipe(**settings):
    return selfsight.Recipe(data=InMemory(IMAGES), encoder=Small(width=4), **{"precision": "32-true", **settings})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the size of a process as Linux tells it")
def test_it_is_near_what_a_training_takes():
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert 0.6 < float(done.stdout) < 1.7


def test_what_a_pass_keeps_is_counted_once_and_without_the_weights():
    net = torch.nn.Linear(3, 5)
    x = torch.randn(7, 3, requires_grad=True)
    with Kept(net) as kept:
        y = net(x)
        (y * y).sum()
    assert kept.total == 7 * 3 * 4 + 7 * 5 * 4 and kept.largest == 7 * 5 * 4


def test_more_images_and_their_pairs_take_more():
    few, many, crowd = (foreseen(recipe(task=selfsight.SimCLR()), IMAGES, np.arange(64), n) for n in (32, 64, 6400))
    assert few < many < crowd and crowd > 100 * few


@pytest.mark.parametrize("task", ["Rotation", "SimCLR", "BYOL", "VICReg", "Restore", "Tokens", "Decompose", "Unmix"])
def test_every_kind_of_task_is_foreseen_and_left_as_it_was(task):
    asked = recipe(task=getattr(selfsight, task)())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert foreseen(asked, IMAGES, np.arange(64), 64) == foreseen(asked, IMAGES, np.arange(64), 64) > 0
    assert torch.equal(before, torch.get_rng_state())


def test_a_training_that_does_not_fit_is_refused_before_its_first_step(photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 20_000_000)
    with pytest.raises(UserError, match=r"would take about .* GB .* are free.*--batch \d+.*--accumulate \d+") as told:
        selfsight.pretrain(photo_folder, out=tmp_path / "r", steps=1, batch=200, size=32, console=Console(quiet=True))
    assert not (tmp_path / "r" / "recipe.json").exists()
    fewer = int(re.search(r"--batch (\d+)", str(told.value))[1])
    run = selfsight.pretrain(
        photo_folder, out=tmp_path / "r", steps=1, batch=fewer, size=32, console=Console(quiet=True), doctor="off",
        encoder=Small(width=4),
    )  # fmt: skip
    assert 0 < run.json("plan")["memory"] < 20_000_000


def test_something_is_free_here():
    assert free() is None or free() > 10**8
