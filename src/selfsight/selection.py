"""Conditional IMLE: for each picture draw codes, keep the one whose answer is nearest to the truth, train on that.

Li, Zhang, Peng, Malik 2020, "Multimodal Image Synthesis with Conditional Implicit Maximum Likelihood Estimation",
section 3: every picture competes among its own codes only, so that every truth has an answer near it and no answer is
averaged over several truths. Peng, Moazeni, Li 2022, "CHIMLE: Conditional Hierarchical IMLE", section 3: codes are
chosen level by level, coarse to fine, each by the distance at its own side. K codes a level then stand for K^L codes.

We depart in how it is computed, not in what is chosen: distances are exact, many pictures and all their codes are one
batch, and whatever does not depend on a level's code (the levels before, the look at what is left) is computed once.
Of many codes all but the few nearest are put aside at a glance (`Stack.glance`), which errs by some thousandths.

The radius is that of RS-IMLE (Vashist, Peng, Li 2024, "Rejection Sampling IMLE"), for the conditional case: there, a
sample nearer than the radius to any datum is not offered to the data; here, where each picture has one known truth and
its own codes, a code whose answer is nearer than the radius to that truth is not chosen as long as another is there.
What is chosen in training then is no better than what is drawn in use. Where all are nearer, the farthest is chosen.

Shapes: N pictures, L levels, K codes a picture and level, C channels, S side, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from selfsight.abreast import abreast
from selfsight.distance import Gauge
from selfsight.restorer import Asked, Stack, State

LIGHT = 8
"""Answers that are glanced at in the memory of one that is made."""


@dataclass(frozen=True)
class Chosen:
    """One code a picture and level, and how far its answer and the others' were. No gradient flows into it."""

    seeds: Tensor
    """(N, L) int64 on the CPU: `stack.codes(seeds)` are the codes."""
    distance: Tensor
    """(N, L), of the chosen code's answer at each level's side."""
    least: Tensor
    """(N, L), of the nearest answer; `distance`, where no radius is set."""
    mean: Tensor
    """(N, L), over all codes that were tried: what a code drawn at random would give. Rough after a glance."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Good: with 8 codes and more. Poor: with many codes and little training, where the nearest code is chosen for what
    it gives by chance."""

    codes: tuple[int, ...] = (8,)
    """K at each level, coarse to fine; the last number stands for all levels that follow. At least 1."""
    flat: bool = False
    """Choose among K whole answers by the finest level alone, as before CHIMLE: slower and farther, for comparison."""
    radius: float = 0.0
    """Answers nearer than this to the truth are passed over, in units of the distance; 0: none is."""
    finalists: int = 4
    """Of at least four times as many codes, those that look nearest at a glance, in bf16, are measured exactly; 0: all
    are. On processors, by squared pixels alone, of whole pictures, without a radius; else all are measured anyway."""
    budget: int = 256
    """Answers of full size that are in memory at once; of coarse levels as many more as they have fewer pixels."""

    def __post_init__(self) -> None:
        if not self.codes or min(self.codes) < 1:
            raise ValueError(f"codes are numbers of codes a level, at least 1 each, not {self.codes}")
        if self.radius < 0 or self.budget < 1 or self.finalists < 0:
            raise ValueError(
                "radius is a distance and finalists a number of codes, both at least 0, budget a number of answers, at "
                f"least 1, not {self.radius}, {self.finalists} and {self.budget}"
            )

    def tried(self, levels: int) -> list[int]:
        """K of each of so many levels."""
        return [self.codes[min(l, len(self.codes) - 1)] for l in range(levels)]

    def seeds(self, stack: Stack, n: int, generator: Generator) -> Tensor:
        """Fresh candidates for n pictures: (n, L, most K of a level) int64 on the CPU."""
        return stack.seeds(n, max(self.tried(stack.levels)), generator)

    @torch.no_grad()
    def __call__(
        self, stack: Stack, gauge: Gauge, left: Tensor, truth: Tensor, seeds: Tensor, z: Tensor | None = None
    ) -> Chosen:
        """What is left as `Stack.with_holes` gave it, the truth (N, C, S, S), candidates (N, L, K), embeddings (N, D)
        or None -> the chosen.

        Only the first K_l candidates of level l are tried. The choice does not depend on the budget.
        """
        counts = [self.tried(1)[0]] * stack.levels if self.flat else self.tried(stack.levels)
        if tuple(seeds.shape[:2]) != (len(left), stack.levels) or seeds.shape[2] < max(counts):
            raise ValueError(
                f"candidates are (N, L, K) = ({len(left)}, {stack.levels}, {max(counts)}) seeds, not "
                f"{tuple(seeds.shape)}: draw them with Selection.seeds"
            )
        room = [self.budget * (stack.sides[-1] // side) ** 2 for side in stack.sides]
        if self.flat:
            room = [self.budget] * stack.levels
        quick = not self.flat and not self.radius and gauge.squares is not None and stack.glances(left)
        finalists = [self.finalists if quick and k >= 4 * self.finalists else 0 for k in counts]
        at_once = [max(1, k // LIGHT) if few else k for k, few in zip(counts, finalists, strict=True)]
        sharers = torch.get_num_threads() if any(finalists) else 1
        room = [max(1, r // sharers) for r in room]
        size = max(1, min(-(-len(left) // sharers), *(r // k for r, k in zip(room, at_once, strict=True))))
        jobs = []
        for rows in torch.arange(len(left)).split(size):
            given = (left[rows], truth[rows], seeds[rows], None if z is None else z[rows])
            jobs.append(Job(stack, gauge, *given, counts, room, self.radius, finalists))
        choose = _flat if self.flat else _hierarchical
        parts = abreast(choose, jobs) if sharers > 1 else [choose(job) for job in jobs]
        return Chosen(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Chosen)))


@dataclass(frozen=True)
class Job:
    """Some pictures, few enough to be worked on at once."""

    stack: Stack
    gauge: Gauge
    left: Tensor
    truth: Tensor
    seeds: Tensor
    z: Tensor | None
    counts: list[int]
    room: list[int]
    radius: float
    finalists: list[int]
    """Of each level, how many of the candidates are measured exactly after a glance at all; 0: no glance, all are."""

    def pieces(self, l: int, seeds: Tensor) -> Iterator[Tensor]:
        """Candidates of level l, some at a time: (N, k)."""
        yield from seeds.split(max(1, self.room[l] // len(self.left)), 1)

    def glanced(self, l: int, asked: Asked, truth: Tensor) -> Tensor:
        """(N, K) roughly how far each candidate's answer is."""
        assert self.gauge.squares is not None
        parts = []
        for seeds in self.seeds[:, l, : self.counts[l]].split(max(1, LIGHT * self.room[l] // len(self.left)), 1):
            code = self.stack.code(l, seeds.flatten())
            parts.append(self.stack.glance(l, asked, code, truth, self.gauge.squares))
        return torch.cat(parts, 1)


def _hierarchical(job: Job) -> Chosen:
    state: State | None = None
    chosen = []
    lefts, truths = job.stack.pictures(job.left), job.stack.pictures(job.truth)
    for l in range(job.stack.levels):
        best, tried = Best(job.radius), job.seeds[:, l, : job.counts[l]]
        rough = None
        if job.finalists[l]:
            asked = Asked(lefts[l], state, job.z, job.stack.look(l, lefts[l], state))
            rough = job.glanced(l, asked, truths[l])
            tried = tried.gather(1, rough.topk(job.finalists[l], largest=False).indices)
        for seeds in job.pieces(l, tried):
            code = job.stack.code(l, seeds.flatten())
            if rough is None:
                answers, states = job.stack.level(l, lefts[l], code, state, job.z)
            else:
                answers, states = job.stack.exactly(l, asked, code)
            far = job.gauge(answers.unflatten(0, seeds.shape), truths[l])
            best.offer(far, (seeds.to(far.device).flatten(), far.flatten(), *states))
        (seed, distance, *kept), least, mean = best.won()
        state = tuple(kept)
        chosen.append((seed.cpu(), distance, least, mean if rough is None else rough.mean(1)))
    return Chosen(*(torch.stack(column, 1) for column in zip(*chosen, strict=True)))


def _flat(job: Job) -> Chosen:
    """One number of the candidates for all levels; distances of the coarser levels are told, not used."""
    best, truths = Best(job.radius), job.stack.pictures(job.truth)
    n = len(job.left)
    tried = []
    for piece in torch.arange(job.counts[0]).split(max(1, job.room[0] // n)):
        k = len(piece)
        seeds = job.seeds[:, :, piece].transpose(1, 2).flatten(0, 1)
        z = None if job.z is None else job.z.repeat_interleave(k, 0)
        answers = job.stack(job.left.repeat_interleave(k, 0), job.stack.codes(seeds), z)
        far = [job.gauge(answer.unflatten(0, (n, k)), truth) for answer, truth in zip(answers, truths, strict=True)]
        tried.append(torch.stack(far, 2))
        best.offer(far[-1], (seeds.to(job.left.device), tried[-1].flatten(0, 1)))
    (seed, distance), _, _ = best.won()
    everything = torch.cat(tried, 1)
    return Chosen(seed.cpu(), distance, everything.amin(1), everything.mean(1))


class Best:
    """The nearest so far, for each picture: what came with it is kept, the rest forgotten."""

    def __init__(self, radius: float) -> None:
        self.radius = radius
        self.kept: tuple[Tensor, ...] = ()
        self.order: Tensor | None = None

    def offer(self, far: Tensor, brought: tuple[Tensor, ...]) -> None:
        """far (N, k) distances; brought: tensors of N k rows, the k of a picture in a row."""
        n, k = far.shape
        order, which = self._order(far).min(1)
        taken = tuple(x[torch.arange(n, device=far.device) * k + which] for x in brought)
        least, total = far.min(1).values, far.sum(1)
        if self.order is None:
            self.order, self.kept, self.least, self.total, self.count = order, taken, least, total, k
            return
        better = order < self.order
        self.order = torch.where(better, order, self.order)
        self.kept = tuple(
            torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, y) for x, y in zip(taken, self.kept, strict=True)
        )
        self.least, self.total = torch.minimum(self.least, least), self.total + total
        self.count += k

    def _order(self, far: Tensor) -> Tensor:
        """Nearest first; those within the radius after all others, the farthest of them first."""
        if not self.radius:
            return far
        exact = far.double()
        return torch.where(far >= self.radius, exact, 1e6 - exact)

    def won(self) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """What the nearest brought, the least distance (N,) and the mean distance (N,)."""
        return self.kept, self.least, self.total / self.count
