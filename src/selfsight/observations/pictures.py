"""What enters a network, and what of it are pictures; cheap features of them that need no training.

Shapes: N examples, M pictures, C channels (1 to 4), H, W (8 at least), F features. A picture tensor may have its
channels second or last, and a further dimension of views, frames or slices before them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d

from selfsight.case import Case
from selfsight.instruments.calls import listening
from selfsight.instruments.nest import leaves
from selfsight.instruments.snapshot import still

SMALL = 8
"""The least side of a picture."""
CELLS = 8
"""Side of a thumbnail."""


def entering(case: Case, batch: Any, model: nn.Module | None = None) -> dict[str, Tensor]:
    """The tensors that the program hands to the outermost calls of its model in one loss, by call and argument.

    Only what comes from the data: what an earlier part of the model has put out is left out.
    """
    model = case.model() if model is None else model
    with still(model), listening(model) as live, listening(model, keep=True) as copies:
        case.loss(model, batch)
    found: dict[str, Tensor] = {}
    made: list[Tensor] = []
    for number, (now, then) in enumerate(zip(live, copies, strict=True)):
        if now.depth:
            continue
        values, given = leaves(then.inputs), leaves(now.inputs)
        for path, tensor in given.items():
            if not tensor.requires_grad and not any(tensor is other for other in made):
                found[f"{now.name or 'model'}#{number}{path}"] = values[path]
        made += leaves(now.output).values()
    return found


def pictures(tensor: Tensor) -> Tensor | None:
    """(M, C, H, W) of the pictures a tensor holds, whatever its layout; None where it holds none."""
    if tensor.ndim not in (4, 5) or tensor.is_complex() or not tensor.numel():
        return None
    flat = tensor.flatten(0, tensor.ndim - 4)
    if flat.shape[1] <= 4 and min(flat.shape[2:]) >= SMALL:
        return flat
    if flat.shape[3] <= 4 and min(flat.shape[1:3]) >= SMALL:
        return flat.permute(0, 3, 1, 2)
    return None


def roughness(shown: Tensor) -> Tensor:
    """(M, C, H, W) -> (M,) mean step between neighbouring pixels: total variation per pixel."""
    shown = shown.double()
    return shown.diff(dim=2).abs().mean((1, 2, 3)) + shown.diff(dim=3).abs().mean((1, 2, 3))


def flat(shown: Tensor) -> Tensor:
    """(M, C, H, W) -> (M,) whether every channel of a picture is one value, up to float rounding."""
    low, high = shown.float().amin((2, 3)), shown.float().amax((2, 3))
    return (high - low <= 1e-5 * torch.maximum(high.abs(), low.abs())).all(1)


def kinship(shown: Tensor) -> Tensor:
    """(M, C, H, W) -> (M,) correlation of neighbouring pixels, 0 for noise that is drawn for each by itself."""
    grey = shown.float().mean(1)
    grey = grey - grey.mean((1, 2), keepdim=True)
    products = (grey[:, :, 1:] * grey[:, :, :-1]).mean((1, 2)) + (grey[:, 1:] * grey[:, :-1]).mean((1, 2))
    return products / 2 / grey.square().mean((1, 2)).clamp_min(1e-20)


def shapes_of(shown: Tensor) -> Tensor:
    """(M, C, H, W) -> (M, F) grey thumbnails, each with its mean and contrast taken out: form without colour."""
    small = adaptive_avg_pool2d(shown.float().mean(1, keepdim=True), CELLS).flatten(1)
    small = small - small.mean(1, keepdim=True)
    return small / small.norm(dim=1, keepdim=True).clamp_min(1e-12)


def families(shown: Tensor) -> list[Tensor]:
    """Three kinds of cheap features of pictures (M, C, H, W), each (M, F): thumbnail, colours, random filters."""
    shown = shown.float()
    thumbnail = adaptive_avg_pool2d(shown, CELLS).flatten(1)
    levels = torch.linspace(0.05, 0.95, 7)
    colours = shown.flatten(2)[..., :: max(1, shown[0, 0].numel() // 1024)].quantile(levels.to(shown), dim=2)
    colours = colours.permute(1, 2, 0).flatten(1)
    filters = torch.randn(16, shown.shape[1], 5, 5, generator=torch.Generator().manual_seed(0)).to(shown)
    filters = filters - filters.mean((2, 3), keepdim=True)
    answers = adaptive_avg_pool2d(conv2d(shown, filters).abs(), 1).flatten(1).clamp_min(1e-12).log()
    return [thumbnail, colours, answers]


def low_level(shown: Tensor) -> Tensor:
    """(M, C, H, W) -> (M, F) what a network should not need: colours' means, spreads and quantiles, the border's
    gradients by side, and how much stronger steps are on the lines of an 8 x 8 grid."""
    shown = shown.float()
    mean, spread = shown.mean((2, 3)), shown.std((2, 3))
    levels = shown.flatten(2).quantile(torch.linspace(0.1, 0.9, 5).to(shown), dim=2).permute(1, 2, 0).flatten(1)
    down, across = shown.diff(dim=2).abs(), shown.diff(dim=3).abs()
    border = [down[:, :, 0].mean(-1), down[:, :, -1].mean(-1), across[..., 0].mean(-1), across[..., -1].mean(-1)]
    grid = [_on_grid(down, 2), _on_grid(across, 3)]
    return torch.cat([mean, spread, levels, *border, *grid], 1)


def _on_grid(steps: Tensor, dim: int) -> Tensor:
    where = torch.arange(steps.shape[dim])
    on = steps.index_select(dim, where[where % 8 == 7]) if (where % 8 == 7).any() else steps
    return on.mean((2, 3)) - steps.mean((2, 3))


def together(tensors: list[Tensor]) -> Tensor | None:
    """The pictures in the tensors of several batches, those of the first one's size."""
    found = [shown for tensor in tensors if (shown := pictures(tensor)) is not None]
    return torch.cat([shown for shown in found if shown.shape[1:] == found[0].shape[1:]]) if found else None


def one_example(seen: dict[str, list[Tensor]]) -> bool:
    """Whether every example of several batches, as it entered the model, is the same in all its parts."""
    for tensors in seen.values():
        first = tensors[0]
        for tensor in tensors:
            if tensor.ndim < 2 or len(tensor) < 2 or tensor.shape[1:] != first.shape[1:]:
                return False
            if (tensor != first[:1]).any():
                return False
    return bool(seen)
