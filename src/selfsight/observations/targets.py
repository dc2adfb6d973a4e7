"""Which part of a batch holds the answers: it does not enter the model, and the loss depends on it.

Shapes: N examples, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from selfsight.case import Case, Failed
from selfsight.instruments.nest import leaves, rebuilt
from selfsight.instruments.snapshot import still
from selfsight.observations.pictures import entering


def answer_paths(case: Case, batch: Any = None) -> list[str]:
    """The paths of a batch's answers: at most a list of numbers per example, unseen by the model, seen by the loss."""
    batch = case.batches[0] if batch is None else batch
    given = list(entering(case, batch).values())
    found = {path: leaf for path, leaf in leaves(batch).items() if leaf.ndim in (1, 2) and len(leaf)}
    unseen = {path: leaf for path, leaf in found.items() if not any(_equal(leaf, tensor) for tensor in given)}
    return [path for path, leaf in unseen.items() if _matters(case, batch, path, leaf)]


def answers(case: Case, count: int | None = None) -> Tensor | None:
    """(N, ...) the answers of the first `count` batches that are kept; None where there is not exactly one kind."""
    paths = answer_paths(case)
    if len(paths) != 1:
        return None
    parts = [leaves(batch).get(paths[0]) for batch in case.batches[:count]]
    if any(part is None or part.shape[1:] != parts[0].shape[1:] for part in parts):  # type: ignore[union-attr]
        return None
    return torch.cat(parts)  # type: ignore[arg-type]


def class_path(case: Case) -> str | None:
    """The path of the one kind of answers, where they are class numbers or one-hot rows; else None."""
    paths = answer_paths(case)
    if len(paths) != 1:
        return None
    found = [classes(leaves(batch).get(paths[0])) for batch in case.batches]
    if any(one is None for one in found):
        return None
    told = torch.cat(found)  # type: ignore[arg-type]
    return paths[0] if 4 * len(told.unique()) <= len(told) else None


def classes(leaf: Tensor | None) -> Tensor | None:
    """(N,) class numbers of a tensor of answers: whole numbers (N,) or (N, 1), or one-hot rows; None of any other."""
    if leaf is None or not leaf.numel():
        return None
    if leaf.ndim == 2 and leaf.shape[1] > 1:
        hot = bool(((leaf == 0) | (leaf == 1)).all()) and bool((leaf.sum(1) == 1).all())
        return leaf.long().argmax(1) if hot else None
    whole = leaf.ndim in (1, 2) and bool((leaf == leaf.round()).all() if leaf.is_floating_point() else True)
    return leaf.reshape(-1).long() if whole else None


def _equal(leaf: Tensor, tensor: Tensor) -> bool:
    return leaf.numel() == tensor.numel() and bool((leaf.reshape(-1) == tensor.reshape(-1)).all())


def _changed(leaf: Tensor) -> Tensor:
    """Other answers: those of the neighbour, or other values where all are the same."""
    if (leaf != leaf[:1]).any():
        return leaf.roll(1, 0)
    return ~leaf if leaf.dtype == torch.bool else leaf + 1


def _matters(case: Case, batch: Any, path: str, leaf: Tensor) -> bool:
    """Whether other answers make another loss, and not only so many times the same one, as a length would.

    Asked at the first weights and a little off: some nets begin with an output of 0, which is as wrong for all answers.
    """
    other = rebuilt(batch, {path: _changed(leaf)})
    model, drawn, times = case.model(), torch.Generator().manual_seed(0), list[float]()
    for shift in (0.0, 0.05):
        with still(model), torch.no_grad():
            for weight in model.parameters():
                if weight.is_floating_point() and shift:
                    weight.add_(shift * torch.randn(weight.shape, generator=drawn).to(weight))
            try:
                before, after = case.value(model, batch), case.value(model, other)
            except Failed:  # an answer that cannot be, so it was looked at
                return True
        times.append(1.0 if after == before else after / before if before else math.inf)
    return abs(times[1] - times[0]) > 1e-5 * abs(times[0])
