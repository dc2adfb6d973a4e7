"""A training's tensors in one safetensors file, written so that a kill at any instant leaves the one before whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from selfsight.encoder import Backbone, Encoder, filled, read_weights
from selfsight.errors import UserError
from selfsight.run import Run, replacing
from selfsight.task import Model
from selfsight.train import State, model_tensors

KEPT = 2
"""Checkpoints that stay: should the newest not be readable, the one before is."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Replaces `path` by a safetensors file with a JSON description in its header, atomically."""
    from safetensors.torch import save_file

    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata={"selfsight": json.dumps(described)})


def save(run: Run, state: State) -> Path:
    """Writes `state` as the newest checkpoint of `run` and removes those that are one too many."""
    run.flush()
    path = run.path / "checkpoints" / f"step-{state.step:09d}.safetensors"
    write_tensors(path, state.tensors(), {"step": state.step, "steps": state.steps, "seed": state.seed})
    for _, old in run.checkpoints()[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def restore(run: Run, state: State) -> int:
    """Takes up the newest readable checkpoint, if there is one -> the step `state` is at."""
    found = newest(run)
    if found:
        path, tensors, described = found
        with _fitting(path):
            state.restore(tensors, described["step"])
    return state.step


def fill(run: Run, model: Model) -> None:
    """Gives a model the weights and buffers of the newest readable checkpoint; there has to be one."""
    found = newest(run)
    if not found:
        raise UserError(f"{run.path} has no checkpoint yet: `selfsight resume {run.path}` goes on with it.")
    path, tensors, _ = found
    with _fitting(path):
        model.load_state_dict(model_tensors(tensors))


def newest(run: Run) -> tuple[Path, dict[str, Tensor], dict[str, Any]] | None:
    """The newest readable checkpoint: its path, tensors and description. Raises UserError where none can be read."""
    from safetensors import SafetensorError

    unreadable = []
    for _, path in reversed(run.checkpoints()):
        try:
            tensors, described = read_weights(str(path))
        except (UserError, SafetensorError, OSError) as error:
            unreadable.append(f"{path.name}: {error}")
        else:
            return path, tensors, described
    if unreadable:
        raise UserError(
            f"No checkpoint of {run.path} can be read ({'; '.join(unreadable)}). Start again with another --out."
        )
    return None


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} does not fit the run's recipe: {str(error).splitlines()[0]}. Was recipe.json or the "
            "task's code changed?"
        ) from error


def save_encoder(path: Path, encoder: Encoder, backbone: Any, about: Mapping[str, Any]) -> None:
    """Writes the encoder alone, with what is needed to build it again: its backbone, channels, size and dimension."""
    described = {"backbone": backbone, "channels": encoder.channels, "size": encoder.size, "dim": encoder.dim, **about}
    write_tensors(path, encoder.state_dict(), described)


def load_encoder(path: str, backbone_of: Any) -> Encoder:
    """The encoder of an exported file or a run's folder; `backbone_of(json)` makes its Backbone. In eval mode."""
    tensors, described = read_weights(path)
    if "backbone" not in described:
        raise UserError(f"{path} was not written by selfsight: it does not say which encoder its weights belong to.")
    backbone: Backbone = backbone_of(described["backbone"])
    return filled(backbone, tensors, described, path)
