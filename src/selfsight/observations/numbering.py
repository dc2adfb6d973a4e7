"""Whether two splits number their classes alike: their tables of names, neighbours, and the numbering that fits best.

Shapes: N examples, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from selfsight.instruments.evidence import SURE, sign_p
from selfsight.instruments.nest import leaves, rows
from selfsight.observations.items import inside
from selfsight.observations.pictures import pictures, shapes_of
from selfsight.observations.targets import classes

EXAMPLES = 2000
"""Examples of each split at most."""
Told = tuple[Tensor, Tensor]
"""(what was predicted, in training's numbers; the answers) of some examples."""


def name_tables(*roots: Any) -> dict[str, Mapping[str, int]]:
    """Dicts that number their keys 0, 1, 2 ..., by the attribute that holds them."""
    found: dict[str, Mapping[str, int]] = {}
    for root in roots:
        for thing in inside(root):
            for name, held in list(getattr(thing, "__dict__", {}).items()):
                if isinstance(held, dict) and 1 < len(held) < 10_000 and all(isinstance(key, str) for key in held):
                    numbers = list(held.values())
                    if all(type(one) is int for one in numbers) and sorted(numbers) == list(range(len(numbers))):
                        found.setdefault(name, held)
    return found


def _features(batch: Any, path: str) -> Tensor | None:
    """(N, F) what neighbours are sought by: pictures' shapes without colour, else the numbers as they are."""
    found = []
    for at, leaf in leaves(batch).items():
        if at != path and leaf.ndim > 1 and len(leaf) == rows(batch):
            shown = pictures(leaf)
            found.append(leaf.float().flatten(1) if shown is None or len(shown) != len(leaf) else shapes_of(shown))
    return torch.cat(found, 1) if found else None


def example_table(batches: list[Any], path: str) -> Told | None:
    """(features, answers) of several batches; None where they do not fit together."""
    made = [(_features(batch, path), classes(leaves(batch).get(path))) for batch in batches]
    good = [(one, told) for one, told in made if one is not None and told is not None and len(one) == len(told)]
    good = [(one, told) for one, told in good if one.shape[1] == good[0][0].shape[1]]
    if not good:
        return None
    return torch.cat([one for one, _ in good])[:EXAMPLES], torch.cat([told for _, told in good])[:EXAMPLES]


def nearest(known: Tensor, answers: Tensor, asked: Tensor) -> Tensor:
    """(N,) the commonest answer of the five nearest."""
    near = torch.cdist(asked, known).topk(min(5, len(known)), largest=False).indices
    return answers[near].mode(1).values


def understood(said: Tensor, told: Tensor) -> bool:
    """Whether predictions are right more often than the commonest answer would be, p < .001."""
    right, usual = int((said == told).sum()), int(told.bincount().max())
    from scipy.stats import binomtest  # late: every start would pay for it

    return float(binomtest(right, len(told), min(1.0, usual / len(told)), alternative="greater").pvalue) < SURE


def renumbered(said: Tensor, told: Tensor) -> tuple[dict[int, int], int, int, float] | None:
    """The numbering that fits better than the given one: (answer -> prediction that differ, right, wrong, p); or None.

    It is made from every other example and tested on the rest.
    """
    count = int(max(said.max(), told.max())) + 1
    if count > 1000 or len(told) < 20:
        return None
    order = torch.randperm(len(told), generator=torch.Generator().manual_seed(0))
    make, test = order[::2], order[1::2]
    table = torch.zeros(count, count)
    table.index_put_((told[make], said[make]), torch.ones(len(make)), accumulate=True)
    table += 1e-3 * torch.eye(count)  # where nothing speaks for another number it keeps its own
    from scipy.optimize import linear_sum_assignment  # late: every start would pay for it

    _, best = linear_sum_assignment(table.numpy(), maximize=True)
    now, then = said[test] == told[test], said[test] == torch.as_tensor(best)[told[test]]
    better, worse = int((then & ~now).sum()), int((now & ~then).sum())
    p = sign_p(better, better + worse)
    moved = {answer: int(other) for answer, other in enumerate(best) if other != answer and (told == answer).any()}
    return (moved, better, worse, p) if p < SURE and better > worse else None
