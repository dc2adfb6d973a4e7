"""What a run learned, taken up from its newest checkpoint to be used and no longer trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from selfsight.checkpoint import newest
from selfsight.described import made
from selfsight.encoder import Backbone, Encoder, without_weights
from selfsight.errors import UserError
from selfsight.places import mark_of
from selfsight.run import Run
from selfsight.task import Task
from selfsight.train import model_tensors


@dataclass(frozen=True)
class Frozen:
    """An encoder and parts trained beside it, in eval mode and without gradients."""

    run: Run
    task: Task
    encoder: Encoder
    parts: nn.ModuleDict
    file: Path
    """The checkpoint whose weights these are."""

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        fits: Callable[[Task], bool],
        parts: Callable[[Task, Encoder], dict[str, nn.Module]],
        lacks: str,
    ) -> Frozen:
        """parts: those that are wanted of a task that fits. `lacks` says in the error what another task's run lacks,
        and what to give. Raises UserError where there is no run, another one, or one without a checkpoint."""
        run = Run.open(path)
        recipe, plan = run.json("recipe"), run.json("plan")
        task = made(recipe["task"], Task)  # type: ignore[type-abstract]
        if not fits(task):
            raise UserError(f"{run.path} was trained on {type(task).__name__}, which {lacks}.")
        found = newest(run) if plan else None
        if not found:
            raise UserError(f"{run.path} has learned nothing yet: `selfsight resume {run.path}` goes on with it.")
        file, tensors, _ = found
        backbone = without_weights(made(recipe["encoder"], Backbone))  # type: ignore[type-abstract]
        encoder = backbone.build(plan["channels"], plan["size"])
        built = nn.ModuleDict(parts(task, encoder))
        weights = model_tensors(tensors)
        for net, prefix in ((encoder, "encoder."), *((part, f"parts.{name}.") for name, part in built.items())):
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            try:
                net.load_state_dict(own)
            except RuntimeError as error:
                raise UserError(
                    f"{file} does not fit the run's recipe: {str(error).splitlines()[0]}. Was recipe.json or the "
                    "task's code changed?"
                ) from error
            net.eval().requires_grad_(False)
        return Frozen(run, task, encoder, built, file)


def mark(path: str | os.PathLike[str]) -> str:
    """A mark of the weights that `Frozen.open` takes up. Raises UserError where it finds none."""
    found = newest(Run.open(path))
    if not found:
        raise UserError(f"{path} has learned nothing yet: `selfsight resume {path}` goes on with it.")
    return mark_of(found[0])


def state(path: str) -> tuple[tuple[str, int], ...]:
    """The run's checkpoints as they are now: a key for what is read once and kept until there is a new one."""
    return tuple((str(file), file.stat().st_mtime_ns) for _, file in Run.open(path).checkpoints())
