"""How far answers are from the truth, and how much is in them: pixels, gradients, maps of features.

Maps: Zhang, Isola, Efros, Shechtman, Wang 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", equation 1 (https://github.com/richzhang/PerceptualSimilarity). We depart in what is added before the root, so
that the slope at a vector of zeros is bounded.

Shapes: N pictures, K answers to each, M pictures of whatever kind, C channels, F channels of a map, H, W, h, w sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Difference = Literal["absolute", "squared"]

SMALLEST = 1e-6
"""Added to the squared length of a feature vector: one of length 0.01 is still made 0.995 long, and none is pushed
apart more than a thousandfold."""


def pixels_apart(answers: Tensor, truth: Tensor, pixels: float, gradients: float, difference: Difference) -> Tensor:
    """Mean difference of pixels, and of differences between neighbouring pixels along rows and columns, weighted.

    answers (N, K, C, H, W), truth (N, C, H, W) -> (N, K), at least 0.
    """
    a, t = answers.movedim(2, -1), truth.movedim(1, -1).unsqueeze(1)  # as networks hand them: channels last, no copies
    far = pixels * _apart(a, t, difference)
    for axis in (2, 3) if gradients else ():
        far = far + gradients * _apart(_steps(a, axis), _steps(t, axis), difference)
    return far


def _steps(x: Tensor, axis: int) -> Tensor:
    """Differences of neighbours along an axis."""
    size = x.shape[axis] - 1
    return x.narrow(axis, 1, size) - x.narrow(axis, 0, size)


def _apart(answers: Tensor, truth: Tensor, difference: Difference) -> Tensor:
    """The mean difference over all but the first two dimensions: (N, K, ...), (N, 1, ...) -> (N, K)."""
    a, t = answers.flatten(2), truth.flatten(2)
    power = 2 if difference == "squared" else 1
    far = torch.cdist(a, t, p=float(power), compute_mode="donot_use_mm_for_euclid_dist")  # in one pass, exactly
    return far[:, :, 0] ** power / max(1, a.shape[2])


def unit_maps(maps: Sequence[Tensor]) -> list[Tensor]:
    """Every place's feature vector at length one: (M, F, h, w) each -> the same shapes."""
    return [x * (x.square().sum(1, keepdim=True) + SMALLEST).rsqrt() for x in maps]


def maps_apart(answers: Sequence[Tensor], truth: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Squared differences of unit maps, summed over channels, meant over places, summed over maps.

    answers: maps (N K, F, h, w), K to a picture in a row; truth: maps (N, F, h, w); weights (F,) of each map's
    channels, at least 0; without them all are 1 -> (N, K), at least 0.
    """
    n, k = len(truth[0]), len(answers[0]) // len(truth[0])
    far = truth[0].new_zeros(n, k)
    for number, (given, right) in enumerate(zip(answers, truth, strict=True)):
        apart = (given.unflatten(0, (n, k)) - right.unsqueeze(1)).square().mean((3, 4))
        far = far + (apart.sum(2) if weights is None else apart @ weights[number])
    return far


def spread(answers: Tensor, apart: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean distance between two answers to the same picture: how different they are.

    answers (N, K, C, H, W), K at least 2; apart((N, k, C, H, W), (N, C, H, W)) -> (N, k). -> (N,).
    """
    k = answers.shape[1]
    if k < 2:
        raise ValueError(f"how far answers are apart takes at least 2 of them, not {k}: draw more codes")
    each = [apart(answers[:, i + 1 :], answers[:, i]) for i in range(k - 1)]
    return torch.cat(each, 1).mean(1)


def edges(pictures: Tensor) -> Tensor:
    """Gradient energy: mean squared differences along rows plus those along columns. (M, C, H, W) -> (M,)."""
    across, down = pictures[..., 1:] - pictures[..., :-1], pictures[..., 1:, :] - pictures[..., :-1, :]
    return across.square().flatten(1).mean(1) + down.square().flatten(1).mean(1)


def sharpness(answers: Tensor, truth: Tensor) -> Tensor:
    """Gradient energy of all answers over that of their truths: below 1 they are softer, above 1 noisier.

    answers (N, K, C, H, W), truth (N, C, H, W) -> scalar; 1 where neither has an edge.
    """
    given, right = edges(answers.flatten(0, 1)).mean(), edges(truth).mean()
    return torch.where(right > 0, given / right.clamp(min=1e-12), 1 + given)
