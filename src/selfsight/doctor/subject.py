"""Anything that trains, as a Program: a file, a recipe, a run, a Lightning module, a model with its criterion."""

from __future__ import annotations

import copy
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsight.doctor.recipes import program_of_recipe, program_of_run
from selfsight.errors import UserError, nearest
from selfsight.instruments.nest import kept, leaves
from selfsight.program import Program
from selfsight.recipe import Recipe
from selfsight.run import Run

EXPECTED = (
    "a selfsight.Program, FILE.py:NAME, a recipe.json, a run's folder, a Lightning module with data=, or "
    "(model, criterion, batch)"
)


def program_of(subject: Any, data: Any = None) -> tuple[Program, str]:
    """(the program, what to call it). Raises UserError where `subject` is nothing that trains."""
    if isinstance(subject, Program):
        return subject, "program"
    if isinstance(subject, Run):
        return program_of_run(subject, data), str(subject.path)
    if isinstance(subject, Recipe):
        return program_of_recipe(subject), f"{type(subject.task).__name__} recipe"
    if isinstance(subject, tuple) and len(subject) == 3 and isinstance(subject[0], nn.Module):
        return program_of_triple(*subject), type(subject[0]).__name__
    if (
        isinstance(subject, nn.Module)
        and hasattr(subject, "training_step")
        and hasattr(subject, "configure_optimizers")
    ):
        return program_of_module(subject, data), type(subject).__name__
    if isinstance(subject, str | os.PathLike):
        return _of_words(os.fspath(subject), data), os.fspath(subject)
    raise UserError(f"{subject!r:.80} is nothing that can be examined. Give {EXPECTED}.")


def _of_words(words: str, data: Any) -> Program:
    """The program that a path names: FILE.py:NAME, a recipe or a run."""
    path, _, name = words.rpartition(":")
    if path.endswith(".py"):
        return program_of(_from_file(Path(path), name), data)[0]
    if words.endswith(".py"):
        return program_of(_from_file(Path(words), "program"), data)[0]
    if Path(words).is_dir():
        return program_of_run(Run.open(words), data)
    if Path(words).suffix in (".json", ".yaml", ".yml"):
        from selfsight.config import configure

        if not Path(words).is_file():
            raise UserError(f"{words} does not exist. Give {EXPECTED}.")
        return program_of_recipe(configure(words, *([{"data": str(data)}] if data is not None else [])))
    raise UserError(f"{words} is nothing that can be examined. Give {EXPECTED}.")


def _from_file(file: Path, name: str) -> Any:
    """What a Python file calls `name`; a function without arguments is called."""
    if not file.is_file():
        raise UserError(f"{file} does not exist. Give the Python file that holds the program, as FILE.py:NAME.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{file} cannot be imported: {type(error).__name__}: {error}.") from error
    finally:
        sys.path.remove(str(file.parent.resolve()))
    if not hasattr(module, name):
        raise UserError(f"{file} has nothing called {name!r}{nearest(name, vars(module))}. Give it as {file}:NAME.")
    found = getattr(module, name)
    return found() if callable(found) and not isinstance(found, nn.Module | type) else found


def program_of_triple(model: nn.Module, criterion: Any, batch: Any) -> Program:
    """A model, its criterion and one batch (inputs, targets); inputs alone where the criterion takes no target.

    The optimizer is Adam at 1e-3: a triple has none of its own, so that only data, model and loss are examined.
    """
    given = kept(batch)
    if not leaves(given):
        raise UserError(f"The batch is {type(batch).__name__} and holds no tensor. Give (inputs, targets).")
    target = _parted(given)[1]

    def judged(said: Any, held: Any) -> Tensor:
        return criterion(said) if target is None else criterion(said, _parted(held)[1])

    def said(net: nn.Module, held: Any) -> Any:
        own = _parted(held)[0]
        return net(*own) if isinstance(own, tuple) else net(own)

    return Program(
        batches=lambda: [given],
        model=lambda: copy.deepcopy(model),
        loss=lambda net, held: judged(said(net, held), held),
        optimizer=lambda net: torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3),
        predict=said,
        criterion=judged,
    )


def _parted(batch: Any) -> tuple[Any, Any]:
    """(inputs, target) of a batch: the last of a pair is the target, a tensor alone has none."""
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return inputs, batch[-1]
    return batch, None


def program_of_module(module: Any, data: Iterable[Any] | Any) -> Program:
    """A Lightning module with its training batches (a loader, or a data module).

    Its training_step gives the loss, its configure_optimizers the optimizer; logging is left out. Manual optimization
    and several optimizers are beyond this adapter: write a Program for those.
    """
    if data is None:
        raise UserError("A Lightning module needs its training batches: give data=, a loader or a data module.")
    loader = data.train_dataloader() if hasattr(data, "train_dataloader") else data
    if not getattr(module, "automatic_optimization", True):
        raise UserError("This Lightning module optimizes by hand. Write a selfsight.Program with its own step=.")

    def loss(net: Any, batch: Any) -> Tensor:
        net.log = net.log_dict = lambda *_, **__: None  # there is no trainer that could take them
        found = net.training_step(batch, 0)
        return found["loss"] if isinstance(found, dict) else found

    def optimizer(net: Any) -> torch.optim.Optimizer:
        made = net.configure_optimizers()
        if isinstance(made, dict):
            made = made["optimizer"]
        while isinstance(made, tuple | list):
            made = made[0]
        if isinstance(made, dict):
            made = made["optimizer"]
        return made

    return Program(
        batches=lambda: loader,
        model=lambda: copy.deepcopy(module).train(),
        loss=loss,
        optimizer=optimizer,
        dataset=getattr(loader, "dataset", None),
    )
