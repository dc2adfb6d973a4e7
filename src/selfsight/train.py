"""The loop, as a generator: `for step in train(state, images, ...)`. It knows Task and no task.

What a step does is a function of the recipe, the step and the tensors of `State` alone: data order, every draw, the
learning rate, what a curriculum asks. Resuming therefore needs these tensors and nothing else; and
as many threads, for the last bits of a sum.

Shapes: N images a step and process, H W side, C channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfsight.batch import Batch, Example, Now
from selfsight.engine import Engine, Plain
from selfsight.growth import shrunk, side
from selfsight.optimizer import Optimization
from selfsight.quick import quicken
from selfsight.seeds import generator, seed_of
from selfsight.task import Model, Task


class Diverged(Exception):
    """The loss is not a finite number; the weights of the step before are untouched."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss became {loss} in step {step}")
        self.step = step


@dataclass(frozen=True)
class Step:
    """One step that has been made."""

    number: int
    """1 for the first."""
    loss: float
    measures: Mapping[str, float]
    seconds: float
    waiting: float
    """Seconds of these spent waiting for images."""
    images: int
    """Images learned from, over all processes."""


class State:
    """Everything a training carries from step to step. Its `tensors()` are a whole checkpoint."""

    def __init__(
        self,
        task: Task,
        model: Model,
        optimization: Optimization,
        fabric: Engine,
        *,
        steps: int,
        seed: int,
        growth: tuple[float, ...] = (),
        channels_last: bool = True,
        fused: bool = True,
    ) -> None:
        self.task, self.optimization, self.fabric, self.growth = task, optimization, fabric, growth
        self.steps, self.seed, self.step = steps, seed, 0
        self.measured: dict[str, float] = {}
        self.model = model.to(memory_format=torch.channels_last) if channels_last else model
        if fused:
            quicken(self.model)
        self.optimizer = optimization.build(self.model, task.rates(), light=isinstance(fabric, Plain))
        self.wrapped, self.engine = fabric.setup(self.model, self.optimizer)
        self.model.train()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, buffers, the optimizer's memory and the newest measures, by name."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    named[f"optimizer.{name}/{key}"] = value
        return named | {f"measured.{name}": torch.tensor(value).double() for name, value in self.measured.items()}

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Takes up what `tensors()` gave after `step` steps. Raises KeyError or RuntimeError where it does not fit."""
        self.model.load_state_dict(model_tensors(tensors))
        parameters = dict(self.model.named_parameters())
        for name, value in tensors.items():
            if name.startswith("measured."):
                self.measured[name.removeprefix("measured.")] = float(value)
            if name.startswith("optimizer."):
                parameter, key = name.removeprefix("optimizer.").rsplit("/", 1)
                like = parameters[parameter]
                memory = value.to(like.device)
                if memory.shape == like.shape:
                    memory = torch.empty_like(like, memory_format=torch.preserve_format).copy_(memory)
                self.optimizer.state[like][key] = memory
        self.step = step


def model_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a checkpoint is the model's, under its own names."""
    return {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}


def order(seed: int, step: int, count: int, batch: int) -> np.ndarray:
    """Which images step `step` learns from: a fresh permutation each epoch, its incomplete last batch left out.

    -> (batch,) int64 places in 0..count-1. `batch` is at most `count`.
    """
    per_epoch = count // batch
    epoch, place = divmod(step, per_epoch)
    return _shuffled(seed, epoch, count)[place * batch : (place + 1) * batch].copy()


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, count: int) -> np.ndarray:
    """Kept while an epoch lasts: of a million images it takes longer than to fetch a batch of them."""
    return np.random.default_rng(seed_of(seed, "order", epoch)).permutation(count)


def train(state: State, images: np.ndarray, where: np.ndarray, *, batch: int, accumulate: int = 1) -> Iterator[Step]:
    """Trains from `state.step` to `state.steps`, yielding after each step. Saving, probing, drawing are the caller's.

    images (all, H, W, C) uint8, a memory map or an array; where (count,) the rows to learn from; batch images a step
    over all processes, each micro-batch of `accumulate` having batch / accumulate of them. Raises Diverged.
    """
    fabric, rank, processes = state.fabric, state.fabric.global_rank, state.fabric.world_size
    share = batch // accumulate

    def fetch(step: int, part: int) -> tuple[Tensor, Tensor]:
        rows = order(state.seed, step, len(where), batch)[part * share : (part + 1) * share][rank::processes]
        pixels = torch.from_numpy(images[where[rows]]).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(where[rows].astype(np.int64))

    coming = [(step, part) for step in range(state.step, state.steps) for part in range(accumulate)]
    with ThreadPoolExecutor(1) as fetcher:
        ahead = fetcher.submit(fetch, *coming[0]) if coming else None
        for place in range(0, len(coming), accumulate):
            started, waited, batches = time.perf_counter(), 0.0, []
            for part in range(accumulate):
                before = time.perf_counter()
                assert ahead is not None
                pixels, index = ahead.result()
                waited += time.perf_counter() - before
                following = place + part + 1
                ahead = fetcher.submit(fetch, *coming[following]) if following < len(coming) else None
                batches.append(Batch(fabric.to_device(pixels), fabric.to_device(index)))
            loss, measures = advance(state, batches)
            yield Step(
                state.step,
                loss,
                measures,
                time.perf_counter() - started,
                waited,
                share // processes * processes * accumulate,
            )


def advance(state: State, batches: list[Batch]) -> tuple[float, dict[str, float]]:
    """One step of `state` on the given micro-batches -> (loss, measures), means over them."""
    draws = generator(state.seed, "task", state.step, state.fabric.global_rank)
    now = Now(state.step, state.steps, draws, dict(state.measured))
    if state.growth:
        to = side(state.growth, now.share, batches[0].images.shape[-1])
        batches = [replace(batch, images=shrunk(batch.images, to)) for batch in batches]
    return learn(state, (state.task.prepare(batch, now) for batch in batches), len(batches), now)


def learn(state: State, asked: Iterable[Example], parts: int, now: Now) -> tuple[float, dict[str, float]]:
    """One step on what is asked, in so many parts, each taken as the one before is done with."""
    fabric, task = state.fabric, state.task
    torch.manual_seed(seed_of(state.seed, "layers", state.step, fabric.global_rank))  # dropout and the like
    rate = state.optimization.rate_at(state.step, state.steps)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    state.optimizer.zero_grad()
    examples, predictions, losses, measured = [], [], [], []
    for number, example in enumerate(asked):
        with fabric.no_backward_sync(state.wrapped, enabled=number < parts - 1):
            prediction = state.wrapped(lambda model, example=example: task.predict(model, example))
            outcome = task.loss(prediction, example)
            loss = float(outcome.loss.detach())
            if not math.isfinite(loss):
                raise Diverged(state.step + 1, loss)
            fabric.backward(outcome.loss / parts)
        examples.append(example)
        predictions.append({name: value.detach() for name, value in prediction.items()})
        losses.append(loss)
        measured.append({name: float(value) for name, value in outcome.measures.items()})
    if state.optimization.clip is not None:
        fabric.clip_gradients(state.wrapped, state.engine, max_norm=state.optimization.clip)
    state.engine.step()
    task.after_step(
        state.model,
        _joined(examples),
        {name: torch.cat([p[name] for p in predictions]) for name in predictions[0]},
        now,
    )
    state.step += 1
    means = {name: sum(m[name] for m in measured) / len(measured) for name in measured[0]}
    state.measured |= _over_processes(fabric, means)
    return sum(losses) / len(losses), means


def _over_processes(fabric: Engine, means: Mapping[str, float]) -> dict[str, float]:
    """What all processes measured on average, so that all of them go on alike."""
    if fabric.world_size == 1 or not means:
        return dict(means)
    values = fabric.all_reduce(fabric.to_device(torch.tensor(list(means.values())).double()), reduce_op="mean")
    assert isinstance(values, Tensor)
    return dict(zip(means, values.tolist(), strict=True))


def _joined(examples: list[Example]) -> Example:
    """The examples of all micro-batches as one."""
    if len(examples) == 1:
        return examples[0]
    joined: dict[str, Any] = {}
    for field in fields(Example):
        values = [getattr(example, field.name) for example in examples]
        if isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
        elif field.name == "extras":
            joined["extras"] = {name: torch.cat([value[name] for value in values]) for name in values[0]}
    return Example(**joined)
