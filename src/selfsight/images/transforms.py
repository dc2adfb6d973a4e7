"""Named transforms, and whether they changed anything that can be seen.

What moves points is joined into one resampling that every picture gets, the untouched one too: softness tells nothing.
What lies in the middle three quarters of an image is shown, so that shears and turns find real pixels outside of it.

Shapes: N images, K names, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from selfsight.images.channels import misorder
from selfsight.images.colour import solarise
from selfsight.images.elastic import elastic_field
from selfsight.images.grain import noise, posterise
from selfsight.images.jpeg import jpeg
from selfsight.images.sharpness import blur, median, sharpen
from selfsight.images.warp import flipped, mirrored, sheared, turned, warp, window, zoomed

SHARE = 0.75
"""Of each side that is shown."""
LEAST = 0.02
"""Root mean square, in [0, 1], of a change that counts as seen: five gray levels of 255."""
THUMB = 24
"""Side in pixels of the small pictures on which symmetry is looked for."""


def _drawn(images: Tensor, generator: Generator, low: float, high: float) -> Tensor:
    return (low + (high - low) * torch.rand(len(images), generator=generator)).to(images.device)


def _side(images: Tensor) -> int:
    return min(images.shape[-2:])


POINTS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirror": mirrored,
    "flip": flipped,
    "turn": turned,
    "shear": sheared,
    "zoom": zoomed,
}
"""Strength (N,) in [-1, 1] -> (N, 2, 2)."""
PIXELS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "colours": misorder,
    "blur": lambda x, g: blur(x, _side(x) * _drawn(x, g, 0.025, 0.05)),
    "median": lambda x, g: median(x, min(9, max(3, 2 * (_side(x) // 24) + 1))),
    "jpeg": lambda x, g: jpeg(x, _drawn(x, g, 4.0, 15.0), tuple(torch.randint(8, (2,), generator=g).tolist())),
    "posterise": lambda x, g: posterise(x, torch.randint(3, 6, (len(x),), generator=g).to(x.device)),
    "solarise": lambda x, g: solarise(x),
    "noise": lambda x, g: noise(x, _drawn(x, g, 0.06, 0.15), g),
    "sharpen": lambda x, g: sharpen(x, _drawn(x, g, 2.0, 4.0), _drawn(x, g, 1.0, 2.0)),
}
"""Some pictures, changed, each by draws of its own."""
WORDS = {
    "mirror": "left for right", "flip": "top for bottom", "turn": "a quarter turn", "shear": "sheared",
    "zoom": "nearer", "elastic": "bent", "colours": "colours in a wrong order", "blur": "blurred",
    "median": "median blur", "jpeg": "JPEG", "posterise": "few tones", "solarise": "bright parts inverted",
    "noise": "noise", "sharpen": "oversharpened",
}  # fmt: skip
"""Every name there is, and what one sees."""


def visible(images: Tensor, names: Sequence[str]) -> Tensor:
    """Which transforms could be seen on which images: (N, C, H, W) -> (N, K) bool.

    A symmetric image shows no mirroring, a gray one no exchange of channels, a blank one nothing. What depends on the
    fine grain is taken to be seen; `transform` tells.
    """
    still = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    size = (min(THUMB, images.shape[-2]), min(THUMB, images.shape[-1]))
    plain = warp(images, still, size=size)
    marked = _strength(plain - plain.mean((2, 3), keepdim=True)) >= LEAST
    seen = []
    for name in names:
        if name in POINTS:
            points = POINTS[name](torch.ones(len(images), device=images.device))
            seen.append(_strength(warp(images, points, size=size) - plain) >= LEAST)
        elif name == "colours":
            apart = plain - (plain.roll(1, 1) if images.shape[1] > 1 else 1 - plain)
            seen.append(_strength(apart) >= LEAST)
        else:
            seen.append(marked)
    return torch.stack(seen, 1)


def transform(images: Tensor, wanted: Tensor, names: Sequence[str], generator: Generator) -> tuple[Tensor, Tensor]:
    """Each image with the transforms that are wanted of it, in the order of their names.

    images (N, C, H, W) float in [0, 1], wanted (N, K) bool -> pictures of the same shape, and (N, K) bool: which of the
    wanted changes of pixels can be seen; those of points are left as wanted.
    """
    n = len(images)
    applied = wanted.clone()
    points = window(
        SHARE * (0.95 + 0.1 * torch.rand(n, generator=generator)), 6 * torch.rand(n, generator=generator) - 3
    )
    shifts = None
    for k, name in enumerate(names):
        chosen = wanted[:, k].cpu()[:, None, None]
        if name in POINTS:
            drawn = POINTS[name](2 * torch.rand(n, generator=generator) - 1)
            points = torch.where(chosen, points @ drawn, points)
        elif name == "elastic":
            shifts = elastic_field(n, images.shape[-2], images.shape[-1], 0.2, 5, generator)
            shifts = shifts * chosen[..., None]
    pictures = warp(images, points, shifts).clamp(0, 1)
    for k, name in enumerate(names):
        which = wanted[:, k].nonzero()[:, 0]
        if name in PIXELS and len(which):
            before = pictures[which]
            after = PIXELS[name](before, generator)
            pictures = pictures.index_copy(0, which, after)
            applied[which, k] = _strength(after - before) >= LEAST
    return pictures, applied


def spoil(images: Tensor, generator: Generator) -> Tensor:
    """Median blur and JPEG, in an order and of a strength of each picture's own: what is small is gone.

    (N, C, H, W) float in [0, 1] -> the same shape.
    """
    blurred_first = torch.rand(len(images), generator=generator) < 0.5
    pictures = images.clone()
    for which, order in ((blurred_first, ("median", "jpeg")), (~blurred_first, ("jpeg", "median"))):
        place = which.nonzero()[:, 0].to(images.device)
        for name in order if len(place) else ():
            pictures[place] = PIXELS[name](pictures[place], generator)
    return pictures


def _strength(change: Tensor) -> Tensor:
    """Root mean square of each image's change: (N, ...) -> (N,)."""
    return change.flatten(1).pow(2).mean(1).sqrt()
