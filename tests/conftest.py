"""Argument and result types of everything in selfsight.maths and selfsight.images are checked while testing, and real images are at hand."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from PIL import Image

install_import_hook(["selfsight.maths", "selfsight.images"], "beartype.beartype")

torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))))


LONGEST = ("test_interruption", "test_doctor", "test_preflight", "test_cli", "test_checks.py")
"""Files whose tests begin first, so that no process is left with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONGEST))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that a test packs go where no user's are."""
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_preflight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor looks before a training in the tests that ask for it; elsewhere it would only cost time."""
    if "test_preflight" not in request.node.nodeid:
        monkeypatch.setattr("selfsight.doctor.preflight.preflight", lambda *_: [])


@pytest.fixture(scope="session")
def photographs() -> np.ndarray:
    """(240, 32, 32, 3) uint8: windows of six photographs, forty of each, in turn."""
    from skimage import data

    pictures = [
        data.astronaut(),
        data.chelsea(),
        data.coffee(),
        data.rocket(),
        data.retina(),
        data.immunohistochemistry(),
    ]
    rng = np.random.default_rng(0)
    patches = []
    for number in range(240):
        picture = Image.fromarray(pictures[number % 6])
        side = min(picture.size) * 2 // 3  # large enough to tell up from down
        left, top = (int(rng.integers(0, length - side)) for length in picture.size)
        window = picture.crop((left, top, left + side, top + side))
        patches.append(np.asarray(window.resize((32, 32), Image.Resampling.BOX)))
    return np.stack(patches)


@pytest.fixture(scope="session")
def photo_folder(photographs: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same patches as a folder of six class folders of PNG files."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, patch in enumerate(photographs):
        place = folder / f"photo{number % 6}"
        place.mkdir(exist_ok=True)
        Image.fromarray(patch).save(place / f"{number:03}.png")
    return str(folder)


@pytest.fixture(scope="session")
def restorer_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of Restore on colour pictures of 32 pixels, saved before its first step: its answers are noise that keeps
    to what was left."""
    from selfsight.tasks import Restore

    return restorer_of(Restore, tmp_path_factory)


@pytest.fixture(scope="session")
def filler_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, of what some squares hid, and told where they are."""
    from selfsight.corruptions import CutOut
    from selfsight.tasks import Restore

    return restorer_of(functools.partial(Restore, corruption=CutOut()), tmp_path_factory)


def restorer_of(kind: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of such a task, as it is before its first step."""
    from selfsight.checkpoint import write_tensors
    from selfsight.encoders import Small
    from selfsight.plan import build
    from selfsight.recipe import Recipe, to_json
    from selfsight.restorers import CamNet
    from selfsight.run import Run

    folder = tmp_path_factory.mktemp("restorer") / "g"
    recipe = Recipe(
        data=str(tmp_path_factory.mktemp("none")), task=kind(restorer=CamNet(width=8)), encoder=Small(width=8)
    )
    run = Run.create(folder)
    run.write("recipe", to_json(recipe))
    run.write("plan", {"size": 32, "channels": 3})
    tensors = {f"model.{name}": value for name, value in build(recipe, 32, 3).state_dict().items()}
    write_tensors(folder / "checkpoints" / "step-000000000.safetensors", tensors, {"step": 0, "steps": 1, "seed": 0})
    return str(folder)


@pytest.fixture(scope="session")
def speller_run(photo_folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of Tokens on the photographs, of six steps: three tokens of 12 floats."""
    from rich.console import Console

    import selfsight
    from selfsight.encoders import Small
    from selfsight.spellers import Bands

    task = selfsight.Tokens(speller=Bands(tokens=3, floats=12, width=8, settling=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selfsight.doctor.preflight.preflight", lambda *_: [])
        out = tmp_path_factory.mktemp("spelling") / "v"
        quiet, small = Console(quiet=True), Small(width=4)
        run = selfsight.pretrain(
            photo_folder, task=task, out=out, steps=6, encoder=small, batch=24, console=quiet, doctor="off", size=32
        )
    return str(run.path)
