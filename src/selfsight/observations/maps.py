"""Maps: outputs with a number between 0 and 1 for every pixel, as an activation of the program's own makes them.

A map is a mask, an attention, a share. What an activation is given can be replaced while the rest of the program runs,
so that maps become free, constant over pictures and pixels, or whatever one likes.

Shapes: N examples, K channels, (N, K, H, W); five dimensions are taken as they come, the last two are the picture's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from selfsight.instruments.calls import Slot, listening, slots_of
from selfsight.instruments.nest import rows, taken
from selfsight.instruments.place import Place, of_caller
from selfsight.instruments.reach import Tail
from selfsight.instruments.snapshot import same, still
from selfsight.observations.tails import tail_of

if TYPE_CHECKING:
    from selfsight.case import Case

_TORCH, _TOOLS = str(Path(torch.__file__).parent), str(Path(__file__).parent)
BOUNDED = {"sigmoid", "sigmoid_", "softmax", "hardsigmoid", "clamp", "clamp_"}
SIDE = 8
"""Pixels; smaller outputs are taken for vectors."""
NEARLY = 0.99
"""Share of a map's pixels that are above .9 where it is called full, below .1 where it is called empty."""
PICTURES = 0.95
"""Share of the pictures on which that has to be so."""
STILL = 0.02
"""How far, of 1, the pixels of a channel may lie from its mean in the mean, over all pictures, to be one number."""
FEW = 4
"""Examples on which the loss is minimised."""
MILD = 2.0
"""A sigmoid of this is .88: such maps differ in earnest and shut nothing off."""
LARGE = 40.0
"""A sigmoid of this is 1, of minus this 0, exactly in float32 but for 4e-18."""


@dataclass(frozen=True)
class Site:
    """Where in the code an activation makes maps, and their shape without the examples."""

    line: str
    """The innermost line that is neither torch's nor the doctor's tools', as file:number."""
    shape: tuple[int, ...]
    place: Place = field(compare=False)
    """The innermost line of the user's own code."""


@dataclass
class Made:
    """What one activation was given and what it made."""

    given: Tensor
    maps: Tensor
    again: Callable[[Tensor], Tensor]
    """The same activation of something else."""


@dataclass(frozen=True)
class State:
    """What a set of maps is like, by unit (one channel of one call) over pictures."""

    words: list[str]
    """For each unit: full, empty, constant, or ''."""
    copies: int
    """Units that say the same as an earlier one on nearly every picture, being neither full nor empty."""

    @property
    def says_nothing(self) -> bool:
        return all(self.words)

    def __str__(self) -> str:
        return ", ".join(word or "varied" for word in self.words)


def sites(tail: Tail) -> dict[Site, list[Made]]:
    """The maps behind the last weights, which the loss depends on; calls in order."""
    marked = {slot: value.detach().clone().requires_grad_() for slot, value in tail.slots.items()}
    with mapping() as found:
        tail(marked)
    return {site: made for site, made in found.items() if all(one.maps.requires_grad for one in made)}


def state(maps: list[Tensor]) -> State:
    """Of the maps of one site, one tensor (N, ..., H, W) per call over the same pictures."""
    units = torch.cat([value.detach().float().flatten(1, -3) if value.ndim > 3 else value for value in maps], 1)
    words = [_word(units[:, unit]) for unit in range(units.shape[1])]
    copies = sum(
        any(_same(units[:, one], units[:, other]) for other in range(one) if not words[other])
        for one in range(units.shape[1])
        if not words[one]
    )
    return State(words, copies)


def _word(unit: Tensor) -> str:
    """What one channel (N, H, W) is like over pictures."""
    for word, where in (("full", unit > 0.9), ("empty", unit < 0.1)):
        if float((where.float().mean((1, 2)) >= NEARLY).float().mean()) >= PICTURES:
            return word
    level = float(unit.mean())
    return f"{level:.2f} everywhere" if float((unit - level).abs().mean()) < STILL else ""


def _same(one: Tensor, other: Tensor) -> bool:
    """Intersection over union above .95 on 95 % of the pictures, of maps cut at one half."""
    a, b = one > 0.5, other > 0.5
    either = (a | b).flatten(1).sum(1)
    share = (a & b).flatten(1).sum(1) / either.clamp_min(1)
    return bool(((share > 0.95) & (either > 0)).float().mean() >= PICTURES)


class _Mapping(TorchFunctionMode):
    """Records the maps that are made, and hands other inputs to the activations of some site."""

    def __init__(self, site: Site | None, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.site, self.given, self.inside, self.found = site, list(given), False, dict[Site, list[Made]]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name not in BOUNDED or self.inside or not args or not _pictures(args[0]):
            return func(*args, **kwargs)
        site = Site(_line(), tuple(args[0].shape[1:]), of_caller(name))
        number, own = len(self.found.get(site, ())), args[0]
        if site == self.site and number < len(self.given):
            own = self.given[number].to(own).expand_as(own)
        self.inside = True
        try:
            with self:
                out = func(own, *args[1:], **kwargs)
                again = partial(_applied, func, args[1:], kwargs)
        finally:
            self.inside = False
        if float(out.detach().min()) >= 0 and float(out.detach().max()) <= 1:
            self.found.setdefault(site, []).append(Made(own, out, again))
        return out


def _applied(func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Tensor:
    return func(value.clone(), *args, **kwargs)


def _pictures(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.ndim in (4, 5)
        and min(value.shape[-2:]) >= SIDE
        and value.numel() > 0
    )


def _line() -> str:
    """The innermost running line that is neither torch's nor of these tools."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _TOOLS)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


@contextlib.contextmanager
def mapping(site: Site | None = None, given: Sequence[Tensor] = ()) -> Iterator[dict[Site, list[Made]]]:
    """Records every map that is made in the block by where; the activations of one site get these inputs, in turn."""
    mode = _Mapping(site, given)
    with mode:
        yield mode.found


@dataclass(frozen=True)
class Preference:
    """The least loss with maps of three kinds, everything else free."""

    free: float
    constant: float
    """One number per channel and call, the same for every picture and pixel."""
    varied: float
    """The least over several sets of maps that differ from picture to picture and from place to place."""
    start: float
    """The loss of the model itself."""
    levels: list[float]
    """The constant maps' numbers."""

    @property
    def degenerate(self) -> bool:
        """Constant maps are as good as any, and maps that say something cost a tenth of the whole way more.

        The minimiser stops within a hundredth or two of the way; where maps only blend what is free anyway, maps that
        vary cost two hundredths, where the loss asks for constant ones a third and more.
        """
        way = max(self.start, self.varied) - min(self.constant, self.free)
        return way > 0 and self.constant <= self.free + 0.03 * way and self.varied > self.constant + 0.1 * way


def asked(case: Case, site: Site) -> Iterator[Preference]:
    """What the loss prefers, on a few examples of two batches."""
    for batch in (case.batch, case.other):
        count = rows(batch)
        tail = tail_of(case, batch if count is None else taken(batch, slice(0, min(FEW, count))))
        made = sites(tail).get(site)
        if made:
            yield preference(tail, site, made)


def preference(tail: Tail, site: Site, made: list[Made]) -> Preference:
    """What the loss itself wants of the maps of one site."""
    generator = torch.Generator().manual_seed(0)
    own = [one.given.detach() for one in made]
    starts = [[_begun(value, i, way, generator) for i, value in enumerate(own)] for way in range(2)]
    flat = min((lowest(tail, site, start, free=True) for start in starts), key=lambda found: found[0])
    snapped = [_snapped(value, one.again(value)) for value, one in zip(flat[1], made, strict=True)]
    constant = lowest(tail, site, snapped, free=False)[0]
    blobs = [[_blobs(value, size, generator) for value in own] for size in (LARGE, MILD, MILD)]
    varied = min(lowest(tail, site, given, free=False)[0] for given in blobs)
    pixels = [value.expand_as(wide).clamp(-MILD, MILD) for value, wide in zip(flat[1], own, strict=True)]
    free = min(*(lowest(tail, site, start, free=True, steps=80)[0] for start in (pixels, own)), flat[0], constant)
    levels = [float(n) for value, one in zip(snapped, made, strict=True) for n in one.again(value).flatten()]
    return Preference(free, constant, varied, tail.start, levels)


def _begun(value: Tensor, call: int, way: int, generator: torch.Generator) -> Tensor:
    """Constant maps to begin with: middling, or large and small in turn; no two of them quite alike."""
    flat = value.new_zeros(1, *value.shape[1:-2], 1, 1)
    signs = torch.where(torch.arange(flat.numel()) % 2 == call % 2, 1.0, -1.0)
    noise = 0.1 * torch.randn(flat.numel(), generator=generator)
    return (way * MILD * signs + noise).view_as(flat).to(flat)


def _snapped(value: Tensor, maps: Tensor) -> Tensor:
    """Nearly full is full and nearly empty empty: an infinitesimal mask is no way out."""
    return torch.where(maps > 0.95, LARGE, torch.where(maps < 0.05, -LARGE, value)).detach()


def _blobs(value: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """Random regions, other ones for every picture, channel and call; either side of zero."""
    shape = value.flatten(0, -3).shape
    coarse = torch.randn(1, shape[0], 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=True)
    return (size * smooth.sign()).view_as(value).to(value)


def lowest(tail: Tail, site: Site, given: list[Tensor], *, free: bool, steps: int = 50) -> tuple[float, list[Tensor]]:
    """The least loss over the other outputs, and over what the activations get too where that is free."""
    maps = [value.detach().clone().requires_grad_(free) for value in given]
    others = {slot: value.detach().clone().requires_grad_() for slot, value in tail.slots.items()}
    wanted = [*others.values(), *(maps if free else [])]
    scale = max(1.0, *(float(value.detach().abs().max()) for value in others.values()))
    best, where = float("inf"), [value.detach().clone() for value in maps]
    optimizer = torch.optim.Adam(wanted, lr=0.2 * scale)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = _loss(tail, site, others, maps)
        if float(loss.detach()) < best:
            best, where = float(loss.detach()), [value.detach().clone() for value in maps]
        if not loss.requires_grad:
            break
        loss.backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.01 ** (1 / steps)
    return best, where


def _loss(tail: Tail, site: Site, others: Mapping[Slot, Tensor], maps: list[Tensor]) -> Tensor:
    with mapping(site, maps):
        return tail(others).double()


def alone(case: Case, tail: Tail, site: Site, made: list[Made]) -> bool:
    """Whether the loss hangs on the maps of this site and on nothing else, and no weights read the maps."""
    given = [one.given.detach() for one in made]
    others = {slot: value.detach().clone().requires_grad_() for slot, value in tail.slots.items()}
    loss = _loss(tail, site, others, given)
    if loss.requires_grad:
        slopes = torch.autograd.grad(loss, list(others.values()), allow_unused=True)
        if any(slope is not None and bool(slope.any()) for slope in slopes):
            return False
    model = case.model()
    with still(model), torch.no_grad(), mapping(site, [-value for value in given]), listening(model) as heard:
        case.loss(model, case.batch)
    now = slots_of(model, heard)
    return all(slot in now and same(now[slot], value) for slot, value in tail.slots.items())
