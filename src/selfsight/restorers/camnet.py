"""CAM-Net: one module a scale, coarse to fine, each with its own code.

Peng, Moazeni, Li 2022, "CHIMLE: Conditional Hierarchical IMLE", section 4 and appendix (CAM-Net:
https://github.com/niopeng/CAM-Net): every module sees the damaged picture at its scale, features and picture of the
module before, and a code of two parts: one for the whole picture, which through a mapping network scales and shifts
features, and one of noise channels, which says where. Every module's picture is held to the truth at its scale.

We depart for the sake of a CPU and of choosing among many codes:
- A module first *looks*, without its code, and then *decides*, with it. Looking is nearly all of the work, and is done
  once however many codes are tried.
- From the second module on, four pixels are four channels (Shi et al. 2016, "Real-Time Single Image and Video
  Super-Resolution Using an Efficient Sub-Pixel CNN"): convolutions run at the side of the module before.
- The mapping network is odd: no biases, and tanh. Opposite codes do opposite things, so that the mean effect of all
  codes is exactly none, and a net that pays no heed to its codes begins as the regression it should be better than.
- No statistics, neither of a batch nor of a picture: an answer may be brighter than what is left, and an image does
  not depend on its neighbours.
- What a module says is added to what is left and to what the module before added; beyond 0 and 1 answers are clamped,
  with the slope of the unclamped, so that a pixel can come back.

Shapes: N pictures, K codes a picture, C channels, s this level's side, h the side it works at, W width, G numbers for
the whole picture, D embedding. Inside, maps are (N, K, h, h, W): channels last, as the convolutions want them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfsight.bf16 import bf16_is_native
from selfsight.compiling import compiled_module
from selfsight.errors import UserError
from selfsight.images.lab import to_lab, to_srgb
from selfsight.restorer import Asked, Restorer, Stack, State, halved

AB = 50.0
"""Units of a and b in one unit of what is said: in six photographs of scikit-image a and b deviate by 3 to 20, and what
a fresh net says by 0.05 to 0.15."""
IN_LAB = ("colour", "lab")
HIDDEN = 64
"""Width of the mapping network."""
QUIET = 0.02
"""Deviation of the weights by which codes are heard, to begin with: scales and shifts deviate by 0.08. What a code must
change is learned in a few steps, what it must not takes many: at 0.1 emoji made four times smaller were .74 of what was
left from the truth after two minutes of a core, at 0.02 .67, at 0.005 .68; and colour gains a little too."""


@dataclass(frozen=True, kw_only=True)
class CamNet(Restorer):
    """Good: pictures of 28 to 256 pixels, several answers, minutes on a CPU. Poor: textures finer than it was given
    training for, which it answers by their mean as any net of its size does."""

    width: int = 16
    """W at the finest level; twice as much at each coarser one."""
    widest: int = 48
    """No level is wider."""
    blocks: int = 1
    """Residual blocks a level has for looking."""
    code: int = 32
    """G, numbers of a code for the whole picture; at least 1."""
    grains: int = 1
    """Noise channels of a code at the level's own side; 0 or more."""
    coarsest: int = 7
    """Sides are halved as long as they are even and not below this: 64 gives 8, 16, 32, 64; 28 gives 7, 14, 28."""
    predicts: Literal["auto", "picture", "colour", "lab", "hidden"] = "auto"
    """picture: every channel. colour: a and b of Lab; L is that of what is left. lab: all three of Lab. hidden:
    what is gone, and it is told where; the rest is that of what is left. auto: hidden for a corruption that only hides,
    else picture."""
    ways: bool = True
    """False: no codes and one answer, the regression twin."""

    def __post_init__(self) -> None:
        numbers = (self.width, self.widest, self.code, self.coarsest)
        if min(numbers) < 1 or min(self.blocks, self.grains) < 0:
            raise ValueError(
                f"width, widest, code and coarsest are at least 1, blocks and grains at least 0, not {numbers} and "
                f"{(self.blocks, self.grains)}"
            )

    def suited(self, hides: bool) -> Restorer:
        if self.predicts == "hidden" and not hides:
            raise ValueError("predicts hidden is for corruptions that only hide, such as CutOut: take auto")
        if self.predicts != "auto":
            return self
        return dataclasses.replace(self, predicts="hidden" if hides else "picture")

    def build(self, channels: int, size: int, dim: int = 0, seed: int = 0) -> Stack:
        if self.predicts in IN_LAB and channels != 3:
            raise UserError(f"Colour is predicted for 3 channels, and these pictures have {channels}: take picture.")
        sides = halved(size, self.coarsest)
        if sides[0] >= 4 * self.coarsest:
            fits = next(side for side in range(size, 0, -1) if halved(side, self.coarsest)[0] < 4 * self.coarsest)
            raise UserError(
                f"A picture of {size} pixels cannot be halved down to {self.coarsest} or a little more, only to "
                f"{sides[0]}: give --size {fits}."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Scales(self, channels, sides, dim).to(memory_format=torch.channels_last)


class Scales(Stack):
    """The modules of all scales. The mapping networks' parameters have `.mapping.` in their names: they can do with a
    smaller learning rate."""

    def __init__(self, given: CamNet, channels: int, sides: tuple[int, ...], dim: int) -> None:
        inner = (sides[0], *sides[:-1])  # where each level works
        lengths = tuple(given.code + given.grains * side**2 if given.ways else 0 for side in inner)
        super().__init__(sides, lengths, given.predicts == "hidden")
        self.colour, self.dim = given.predicts in IN_LAB, dim
        widths = [min(given.widest, given.width * 2**i) for i in range(len(sides))][::-1]
        self.scales = nn.ModuleList(
            Scale(given, channels, widths[l], widths[l - 1] if l else 0, dim) for l in range(len(sides))
        )

    def level(
        self, l: int, left: Tensor, code: Tensor, state: State | None = None, z: Tensor | None = None
    ) -> tuple[Tensor, State]:
        return self.exactly(l, Asked(left, state, z, self.look(l, left, state)), code)

    def look(self, l: int, left: Tensor, state: State | None) -> Tensor:
        scale: Any = self.scales[l]
        return scale.look(fold(inside(left), scale.fold), state)

    def exactly(self, l: int, asked: Asked, code: Tensor) -> tuple[Tensor, State]:
        scale: Any = self.scales[l]
        left, state, z = asked.left, asked.state, asked.z
        if (z is not None) != bool(self.dim):
            raise ValueError(
                f"this restorer was built for embeddings of {self.dim} numbers (0: none), and "
                f"{'none' if z is None else tuple(z.shape)} came: build it with dim, or leave z out"
            )
        said, features = scale.decide(asked.seen, code, z)
        said = said.to(left.dtype)  # under autocast, pictures keep their precision
        said = unfold(said.add_(self._base(scale, fold(inside(left), scale.fold), state)), scale.fold)
        last = l + 1 == self.levels
        if self.colour or self.sees_holes:
            answer = _filled(inside(left), said) if self.sees_holes else _coloured(inside(left), said)
            return outside(answer), () if last else (features, outside(answer), outside(said))
        answer = Held.apply(said) if torch.is_grad_enabled() else said.clamp_(0, 1)
        return outside(answer), () if last else (features, outside(answer), outside(answer - inside(left)))

    def _base(self, scale: Any, folded: Tensor, state: State | None) -> Tensor:
        """What a level's changes are added to, folded."""
        base = folded.new_zeros(()) if self.colour or self.sees_holes else folded
        if state is None:
            return base
        more = F.interpolate(state[2], scale_factor=scale.fold, mode="bilinear", align_corners=False)
        return base + fold(inside(more), scale.fold)  # what the level before changed, without its pixels' edges

    def glances(self, left: Tensor) -> bool:
        there = bf16_is_native(left.device.type) and self.lengths[0] > 0 and not (self.colour or self.sees_holes)
        there = there and left.device.type == "cpu" and left.dtype == torch.float32
        return there and compiled_module("glance") is not None

    @torch.no_grad()
    def glance(self, l: int, asked: Asked, code: Tensor, truth: Tensor, weights: tuple[float, float]) -> Tensor:
        from selfsight.glance import distances  # its import compiles, or reads what was compiled

        scale: Any = self.scales[l]
        style, seen = scale.style, inside(asked.seen)[:, 0]
        factor, shift = (x.flatten(2) for x in style(code, asked.z, len(seen)))
        grain = style.grain if style.grain is not None else seen.new_zeros(0, seen.shape[-1])
        noise = code[:, style.whole :].reshape(*factor.shape[:2], seen.shape[1] * seen.shape[2], len(grain))
        folded = fold(inside(asked.left), scale.fold)
        base = outside(unfold(self._base(scale, folded, asked.state), scale.fold))
        last = (scale.last.weight, scale.last.bias)
        return distances(seen, (1 + factor, shift), (noise, grain), last, base, truth, weights)


def _coloured(left: Tensor, change: Tensor) -> Tensor:
    """What is left (N, 1, s, s, 3), its a and b changed (N, K, s, s, 2), or all of Lab (N, K, s, s, 3) -> sRGB
    (N, K, s, s, 3)."""
    lab = inside(to_lab(outside(left)))
    kept = 3 - change.shape[-1]
    light = lab[..., :kept].expand(*change.shape[:4], kept)
    changed = torch.cat([light, lab[..., kept:] + AB * change], -1)
    return Held.apply(inside_again(to_srgb(outside(changed), clamp=False), len(left)))


def _filled(left: Tensor, change: Tensor) -> Tensor:
    """What is left and where it is gone (N, 1, s, s, C + 1), changed there alone by (N, K, s, s, C) -> (N, K, s, s, C).

    Where the level's pixel is gone in part, it is changed in part: its answer is the mean of what finer ones may be.
    """
    answer = left[..., :-1] + left[..., -1:] * change
    return Held.apply(answer) if torch.is_grad_enabled() else answer.clamp_(0, 1)


class Scale(nn.Module):
    """One level: looks at what is left and what came before, then decides by its code."""

    def __init__(self, given: CamNet, channels: int, width: int, before: int, dim: int) -> None:
        super().__init__()
        self.fold = 2 if before else 1
        """Pixels a side that become channels of one."""
        says = (2 if given.predicts == "colour" else channels) * self.fold**2
        seen = (channels + (given.predicts == "hidden")) * self.fold**2 + (channels if before else 0)
        self.first = nn.Conv2d(seen, width, 3, padding=1)
        self.lift = nn.Conv2d(before, width, 1, bias=False) if before else None
        self.blocks = nn.Sequential(*(Block(width) for _ in range(given.blocks)))
        self.style = Style(given, width, dim) if given.ways or dim else None
        self.last = nn.Conv2d(width, says, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.3)  # begins near what is left, and yet not equal whatever the code

    def look(self, folded: Tensor, state: State | None) -> Tensor:
        """What is left, folded (N, 1, h, h, C'), and the state of the level before -> (N, W, h, h)."""
        if state is None or self.lift is None:
            return self.blocks(self.first(outside(folded)))
        features, answer = state[0], inside(state[1])
        x, lifted = inside(self.first(outside(torch.cat([folded, answer], -1)))), inside(self.lift(features))
        n, _, h, _, width = x.shape
        times = h // lifted.shape[2]
        pixels = x.view(n, h // times, times, h // times, times, width)
        return self.blocks(outside((pixels + lifted.view(n, h // times, 1, h // times, 1, width)).view_as(x)))

    def decide(self, seen: Tensor, code: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor]:
        """(N, W, h, h) and codes (N K, F) -> what is said, folded (N, K, h, h, C''), and features (N K, W, h, h)."""
        n, k, x = len(seen), len(code) // len(seen), inside(seen)
        if self.style is not None:
            scale, shift = self.style(code, z, n)
            x = torch.addcmul(shift, x, 1 + scale)
            if self.style.grain is not None:
                noise = code[:, self.style.whole :].view(n, k, *x.shape[2:4], -1).to(x.dtype)
                for channel, weight in zip(noise.split(1, -1), self.style.grain.to(x.dtype), strict=True):
                    x = x.addcmul_(channel, weight)
        x = F.relu(x, inplace=self.style is not None)
        if x.shape[1] < k:  # no code is heard: all K say the same
            x = x.expand(-1, k, -1, -1, -1)
        return inside_again(self.last(outside(x)), n), outside(x)


class Style(nn.Module):
    """From a code, and an embedding where there is one, to scales and shifts; and how much of its noise is let in."""

    def __init__(self, given: CamNet, width: int, dim: int) -> None:
        super().__init__()
        self.whole = given.code if given.ways else 0
        self.out = nn.Linear(HIDDEN, 2 * width, bias=False)
        nn.init.normal_(self.out.weight, std=QUIET)
        if given.ways:
            odd = [nn.Linear(given.code, HIDDEN, bias=False), nn.Linear(HIDDEN, HIDDEN, bias=False)]
            self.mapping = nn.Sequential(odd[0], nn.Tanh(), odd[1], nn.Tanh())
            for layer in odd:
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        self.grain = nn.Parameter(QUIET * torch.randn(given.grains, width)) if given.ways and given.grains else None
        self.turn = nn.Linear(dim, HIDDEN, bias=False) if given.ways and dim else None
        self.bend = nn.Linear(dim, HIDDEN, bias=False) if dim else None

    def forward(self, code: Tensor, z: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
        """Codes (N K, F), embeddings (N, D) -> scale and shift, (N, K, 1, 1, W)."""
        style = code.new_zeros(n, 1, HIDDEN)
        if self.whole:
            style = self.mapping(code[:, : self.whole]).unflatten(0, (n, -1))
        if z is not None and self.bend is not None:
            z = F.layer_norm(z, z.shape[-1:]).unsqueeze(1)
            style = style if self.turn is None else style * (1 + torch.tanh(self.turn(z)))
            style = style + torch.tanh(self.bend(z))
        scale, shift = self.out(style)[:, :, None, None].chunk(2, -1)
        return scale, shift


class Block(nn.Module):
    """x + conv(relu(conv(relu(x)))), the sum beginning near x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.two.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.relu_(self.one(F.relu(x))))


class Held(torch.autograd.Function):
    """Clamps to [0, 1]; its slope is 1 everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return slopes[0]


def inside(x: Tensor) -> Tensor:
    """(N, W, h, h) -> (N, 1, h, h, W), a view."""
    return x.permute(0, 2, 3, 1).unsqueeze(1)


def outside(x: Tensor) -> Tensor:
    """(N, K, h, h, W) -> (N K, W, h, h), a view that is channels last where x is contiguous."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


def inside_again(x: Tensor, n: int) -> Tensor:
    """(N K, W, h, h) -> (N, K, h, h, W), a view."""
    return x.permute(0, 2, 3, 1).unflatten(0, (n, -1))


def fold(x: Tensor, times: int) -> Tensor:
    """(N, K, s, s, C) -> (N, K, s / times, s / times, times^2 C): neighbours become channels, row by row."""
    n, k, side, _, channels = x.shape
    h = side // times
    cells = x.reshape(n, k, h, times, h, times, channels).transpose(3, 4)
    return cells.reshape(n, k, h, h, times**2 * channels)


def unfold(x: Tensor, times: int) -> Tensor:
    """Back: (N, K, h, h, times^2 C) -> (N, K, times h, times h, C)."""
    n, k, h, _, channels = x.shape
    cells = x.reshape(n, k, h, h, times, times, channels // times**2).transpose(3, 4)
    return cells.reshape(n, k, times * h, times * h, channels // times**2)
