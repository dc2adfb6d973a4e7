"""Trains a program by its own pieces, leaving the global random state as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from selfsight.program import Program


@contextmanager
def kept_randomness(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and torch inside; gives all three their old state back afterwards."""
    ordinary, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(ordinary)
            np.random.set_state(arrays)


def one_step(program: Program, model: nn.Module, optimizer: Optimizer, batch: Any) -> Any:
    """One training step: the program's own where it has one; what it returns, else the loss."""
    if program.step is not None:
        return program.step(model, optimizer, batch)
    optimizer.zero_grad()
    loss = program.loss(model, batch)
    loss.backward()
    optimizer.step()
    return loss


def batches(program: Program, model: nn.Module, optimizer: Optimizer, steps: int) -> Iterator[Any]:
    """`steps` batches over as many passes as it takes, with the program's own doings between them."""
    done, epoch = 0, 0
    while done < steps:
        before = done
        for batch in program.batches():
            yield batch
            done += 1
            if done == steps:
                return
        if done == before:
            raise ValueError("Program.batches() gave an empty pass: give at least one batch.")
        if program.between_epochs is not None:
            program.between_epochs(model, optimizer, epoch)
        epoch += 1


def train(program: Program, steps: int, seed: int = 0) -> nn.Module:
    """A fresh model after `steps` steps."""
    with kept_randomness(seed):
        model = program.model()
        optimizer = program.optimizer(model)
        for batch in batches(program, model, optimizer, steps):
            one_step(program, model, optimizer, batch)
    return model
