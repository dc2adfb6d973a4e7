"""A random view of each image: crop, flip, rotation, colour jitter, gray, blur, solarise, each drawn per image.

Equal in distribution to composing torchvision's RandomResizedCrop, RandomHorizontalFlip, RandomRotation, ColorJitter
(inside RandomApply), RandomGrayscale, GaussianBlur and RandomSolarize image by image (the recipe of Chen et al. 2020,
"A Simple Framework for Contrastive Learning", appendix A), but done on a whole batch, on whichever device holds it.
One departure: rotation fills its corners by reflection, not with black, which a network could read off.

Shapes: N images, C channels, H W source, S side of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from selfsight.batch import Batch, Example
from selfsight.compiling import compiled_module
from selfsight.images.changes import Changes
from selfsight.view import ViewSource


@dataclass(frozen=True, kw_only=True)
class Views(ViewSource):
    """What may change between two pictures of one image, and so what the network learns to ignore.

    Good where the classes survive every change below. Poor where a change takes away what tells the classes apart:
    with the colour jitter on, a network cannot learn colour; with small crops, not layout.
    """

    crop: tuple[float, float] = (0.2, 1.0)
    """Share of the image's area that a crop keeps, (least, most) in (0, 1]."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    """Width over height of a crop, (least, most)."""
    edge: float = 0.0
    """Chance that a crop is moved until it touches one of the image's four edges."""
    flip: float = 0.5
    """Chance of a left-right flip."""
    rotate: float = 0.0
    """Greatest rotation either way, degrees."""
    jitter: float = 0.8
    """Chance that the colour jitter is applied."""
    brightness: float = 0.4
    """Factor drawn from [1 - b, 1 + b]."""
    contrast: float = 0.4
    """Factor drawn from [1 - c, 1 + c]."""
    saturation: float = 0.4
    """Factor drawn from [1 - s, 1 + s]."""
    hue: float = 0.1
    """Shift drawn from [-h, h], in turns of the colour circle, at most 0.5."""
    gray: float = 0.2
    """Chance that all colour is taken away."""
    blur: float = 0.5
    """Chance of a Gaussian blur."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Standard deviation of the blur in pixels of a 224-pixel view, scaled with the view's side."""
    solarise: float = 0.0
    """Chance that bright pixels are inverted."""

    def __post_init__(self) -> None:
        low, high = self.crop
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop is (least, most) share of the area, 0 < least <= most <= 1, not {self.crop}")
        for name in ("edge", "flip", "jitter", "gray", "blur", "solarise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a chance in [0, 1], not {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue is a shift in [0, 0.5], not {self.hue}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """One view of each image: (N, C, H, W) uint8 -> (N, C, H, W) float32 in [0, 1].

        All draws are made on the CPU from `generator`, so that they are the same on every device. Pixels keep their
        precision, whatever the network around has.
        """
        changes = self.drawn(len(images), images.shape[-2], images.shape[-1], generator)
        here = images.device.type == "cpu" and changes.degrees is None
        inner = changes.radius < min(images.shape[-2:])  # else there is nothing to reflect at the border
        if here and inner and (compiled := compiled_module("compiled")):
            return _compiled(compiled, images, changes)
        with torch.autocast(images.device.type, enabled=False):
            return changes(images)

    def drawn(self, n: int, height: int, width: int, generator: Generator) -> Changes:
        """What will be done to n images."""
        top, left, tall, wide = draw_crops(n, height, width, self.crop, self.ratio, generator)
        if self.edge > 0:
            top, left = _to_edges(top, left, height - tall, width - wide, self.edge, generator)
        flip = _uniform(n, generator) < self.flip
        degrees = _uniform(n, generator, -self.rotate, self.rotate) if self.rotate > 0 else None
        order, strength = self._colours(n, generator)
        gray, blur = _uniform(n, generator) < self.gray, _uniform(n, generator) < self.blur
        side, sigma = max(height, width), torch.zeros(n)
        sigma[blur] = _uniform(int(blur.sum()), generator, *self.sigma) * (side / 224)
        return Changes(
            crop=torch.stack([top, left, tall, wide], 1).long(),
            flip=flip,
            degrees=degrees,
            order=order,
            strength=strength,
            gray=gray,
            sigma=sigma,
            # The kernel of the SimCLR paper covers a tenth of the side: a radius of a twentieth, at least one pixel.
            radius=max(1, round(side / 20)),
            solarise=_uniform(n, generator) < self.solarise,
        )

    def _colours(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """(order, strength) of the colour jitter, each (N, 4)."""
        chosen = _uniform(n, generator) < self.jitter
        order = torch.rand(n, 4, generator=generator).argsort(1)  # each image has an order of its own
        widths = (self.brightness, self.contrast, self.saturation)
        strength = [_uniform(n, generator, max(0.0, 1 - width), 1 + width) for width in widths]
        strength.append(_uniform(n, generator, -self.hue, self.hue))
        active = torch.tensor([width > 0 for width in (*widths, self.hue)])
        return torch.where(chosen[:, None] & active[order], order, -1), torch.stack(strength, 1)

    def pair(self, images: Tensor, generator: Generator) -> Tensor:
        """Two views of each image: (N, C, H, W) uint8 -> (N, 2, C, H, W) float32 in [0, 1]."""
        return self(images.repeat_interleave(2, 0), generator).unflatten(0, (len(images), 2))

    def example(self, batch: Batch, generator: Generator) -> Example:
        return Example(inputs=self.pair(batch.images, generator), index=batch.index)

    def gentle(self) -> Views:
        """The same geometry with every change of colour and sharpness off."""
        return replace(self, jitter=0.0, gray=0.0, blur=0.0, solarise=0.0)


def _compiled(compiled: Any, images: Tensor, changes: Changes) -> Tensor:
    made = compiled.changed(
        images.numpy(),
        crops=changes.crop.numpy(),
        flip=changes.flip.numpy(),
        order=changes.order.numpy(),
        strength=changes.strength.float().numpy(),
        gray=changes.gray.numpy(),
        sigma=changes.sigma.float().numpy(),
        radius=changes.radius,
        solarise=changes.solarise.numpy(),
    )
    return torch.from_numpy(made)


def draw_crops(
    n: int, height: int, width: int, share: tuple[float, float], ratio: tuple[float, float], generator: Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(top, left, height, width) of n crops in whole pixels, as torchvision's RandomResizedCrop draws them.

    Ten tries each; where none fits inside the image, the largest central crop whose ratio is allowed.
    """
    tries = 10
    area = height * width * _uniform((n, tries), generator, *share)
    aspect = _uniform((n, tries), generator, math.log(ratio[0]), math.log(ratio[1])).exp()
    wide, tall = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    first = fits.int().argmax(1, keepdim=True)
    wide, tall = wide.gather(1, first)[:, 0], tall.gather(1, first)[:, 0]
    none = ~fits.any(1)
    kept = min(max(width / height, ratio[0]), ratio[1])
    wide = torch.where(none, torch.tensor(float(min(width, round(height * kept)))), wide)
    tall = torch.where(none, torch.tensor(float(min(height, round(width / kept)))), tall)
    top = (_uniform(n, generator) * (height - tall + 1)).floor()
    left = (_uniform(n, generator) * (width - wide + 1)).floor()
    top = torch.where(none, ((height - tall) / 2).floor(), top)
    left = torch.where(none, ((width - wide) / 2).floor(), left)
    return top, left, tall, wide


def _to_edges(
    top: Tensor, left: Tensor, lowest: Tensor, rightmost: Tensor, chance: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Some of the crops at one edge each, any of the four; where along it stays as it was drawn."""
    moved, edge = _uniform(len(top), generator) < chance, torch.randint(4, (len(top),), generator=generator)
    top = torch.where(moved & (edge == 0), 0.0, torch.where(moved & (edge == 1), lowest, top))
    left = torch.where(moved & (edge == 2), 0.0, torch.where(moved & (edge == 3), rightmost, left))
    return top, left


def _uniform(shape: int | tuple[int, ...], generator: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
