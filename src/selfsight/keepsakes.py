"""What a task shows of itself as it learns: the same few images, asked again whenever the running probe speaks.

One safetensors file for each time, RUN/keepsakes/step-000000120.safetensors, with what the task's `keepsake` gave.

Shapes: M images.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfsight.checkpoint import write_tensors
from selfsight.run import Run
from selfsight.seeds import seed_of
from selfsight.store import Store
from selfsight.task import Model, Task

ASKED = 16
"""Images that are asked again and again."""


class Keepsakes:
    """Writes what a task keeps of some images of `where`; nothing for tasks that keep nothing."""

    def __init__(self, run: Run, task: Task, store: Store, where: np.ndarray, seed: int) -> None:
        self.folder, self.task = run.path / "keepsakes", task
        self.rows = np.sort(np.random.default_rng(seed_of(seed, "keepsakes")).permutation(where)[:ASKED])
        self.images = torch.from_numpy(store.images[self.rows]).permute(0, 3, 1, 2)

    def keep(self, model: Model, step: int) -> None:
        """Asks the model as it stands, in eval mode; weights and modes are left as they were."""
        modes = {module: module.training for module in model.modules()}
        model.eval()
        with torch.no_grad():
            kept = self.task.keepsake(model, self.images.to(next(model.parameters()).device))
        for module, mode in modes.items():
            module.training = mode
        if kept:
            about = {"step": step, "rows": self.rows.tolist()}
            write_tensors(self.folder / f"step-{step:09d}.safetensors", kept, about)


def keepsakes(run: Run) -> list[tuple[int, dict[str, Tensor]]]:
    """(step, what was kept) of a run, oldest first."""
    from safetensors.torch import load_file

    return [(step, load_file(file)) for step, file in _files(run)]


def forget(run: Run, step: int) -> None:
    """Removes what was kept after `step`, which is trained again."""
    for at, file in _files(run):
        if at > step:
            file.unlink()


def _files(run: Run) -> list[tuple[int, Path]]:
    named = ((re.fullmatch(r"step-(\d+)\.safetensors", file.name), file) for file in (run.path / "keepsakes").glob("*"))
    return sorted((int(match[1]), file) for match, file in named if match)
