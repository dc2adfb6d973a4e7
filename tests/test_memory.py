"""Memory is foreseen before the first step: near what a training really takes, and refused where it is not there."""

import dataclasses
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
from selfsight.memory import Kept, foreseen, free, require_room
from selfsight.sources import InMemory

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
MEASURED = """
import resource, sys
import numpy as np
import selfsight
from selfsight.allocator import keep_memory
from selfsight.memory import foreseen
from selfsight.engine import solitary
from selfsight.plan import build, resident
from selfsight.sources import InMemory
from selfsight.train import State, advance

keep_memory()
images = np.random.default_rng(0).integers(0, 256, (256, 48, 48, 3), dtype=np.uint8)
recipe = selfsight.Recipe(data=InMemory(images), task=selfsight.SimCLR(), precision="32-true")
told = foreseen(recipe, images, np.arange(256), 256)(256)
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
    need = foreseen(recipe(task=selfsight.SimCLR()), IMAGES, np.arange(64), 32)
    few, many, crowd = map(need, (32, 64, 6400))
    assert few < many < crowd and crowd > 100 * few


@pytest.mark.parametrize("task", ["Rotation", "SimCLR", "BYOL", "VICReg", "Restore", "Tokens", "Decompose", "Unmix"])
def test_every_kind_of_task_is_foreseen_and_left_as_it_was(task):
    asked = recipe(task=getattr(selfsight, task)())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    needs = [foreseen(asked, IMAGES, np.arange(64), 64)(64) for _ in range(2)]
    assert needs[0] == needs[1] > 0
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("task", ["Grid", "OddOneOut", "Unmix"])
def test_puzzles_of_several_images_are_foreseen_for_small_batches_too(task):
    asked = recipe(task=getattr(selfsight, task)())
    assert foreseen(asked, IMAGES, np.arange(64), 8)(8) > 0
    with pytest.raises(ValueError, match="take a larger batch"):
        foreseen(asked, IMAGES, np.arange(64), 2)


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_training_that_does_not_fit_is_refused_and_what_is_advised_fits(accumulate, monkeypatch):
    asked = recipe(task=selfsight.SimCLR(), accumulate=accumulate, batch=64)
    monkeypatch.setattr(memory, "free", lambda: foreseen(asked, IMAGES, np.arange(64), 64)(64 // accumulate) * 2 // 3)
    with pytest.raises(UserError, match=r"would take about .* GB .* are free.*--batch \d+") as told:
        require_room(asked, IMAGES, np.arange(64), 64)
    fewer = int(re.search(r"--batch (\d+)", str(told.value))[1])
    parts = re.search(r"--accumulate (\d+)", str(told.value))
    assert require_room(asked, IMAGES, np.arange(64), fewer) > 0
    if parts:
        assert int(parts[1]) > accumulate
        assert require_room(dataclasses.replace(asked, accumulate=int(parts[1])), IMAGES, np.arange(64), 64) > 0


def test_where_no_batch_would_fit_none_is_advised(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 1000)
    with pytest.raises(UserError, match="smaller pictures") as told:
        require_room(recipe(task=selfsight.SimCLR()), IMAGES, np.arange(64), 2)
    assert "--batch" not in str(told.value)


def test_processes_of_one_machine_share_its_memory(monkeypatch):
    asked = recipe(task=selfsight.SimCLR(), batch=64)
    monkeypatch.setattr(memory, "free", lambda: 2 * foreseen(asked, IMAGES, np.arange(64), 16)(16))
    monkeypatch.setenv("WORLD_SIZE", "4")
    require_room(asked, IMAGES, np.arange(64), 64)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError, match="are free"):
        require_room(asked, IMAGES, np.arange(64), 64)


def test_a_run_keeps_what_was_foreseen_and_refuses_before_it_writes(photo_folder, tmp_path, monkeypatch):
    small = {"steps": 1, "batch": 8, "size": 32, "console": Console(quiet=True), "doctor": "off"}
    run = selfsight.pretrain(photo_folder, out=tmp_path / "r", encoder=Small(width=4), **small)
    assert run.json("plan")["memory"] > 0
    monkeypatch.setattr(memory, "free", lambda: 1000)
    with pytest.raises(UserError, match="are free"):
        selfsight.pretrain(photo_folder, out=tmp_path / "s", encoder=Small(width=4), **small)
    assert not (tmp_path / "s" / "recipe.json").exists()


def test_a_group_counts_no_files_that_can_be_given_back(tmp_path, monkeypatch):
    for name, value in {
        "max": "1000\n",
        "current": "900\n",
        "stat": "anon 100\ninactive_file 500\nactive_file 250\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(value)
    monkeypatch.setattr(memory, "_groups", lambda: [tmp_path, tmp_path / "none"])
    assert free() == 850
    (tmp_path / "memory.max").write_text("max\n")
    assert free() is None or free() > 10**8


def test_something_is_free_here():
    assert free() is None or free() > 10**8
