"""How fast this training is on this machine, how near to what its network allows, and what would help most.

The ceiling is the same step on a batch that is there already: same numbers, same network, same optimizer, nothing read
and nothing changed. Everything that is compared is run in turn, so that a neighbour's load meets all alike.

Shapes: N images a step.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from selfsight.allocator import give_back, keep_memory
from selfsight.batch import Batch, Now
from selfsight.bf16 import bf16_is_native
from selfsight.compiling import compiled_module
from selfsight.engine import solitary
from selfsight.errors import UserError
from selfsight.memory import require_room
from selfsight.plan import batch_of, build, resident, state_of
from selfsight.recipe import Precision, Recipe
from selfsight.seeds import generator
from selfsight.store import Store
from selfsight.storing import learned_from, store_of
from selfsight.timing import Row
from selfsight.together import Together
from selfsight.train import Diverged, State, learn, order, train

ROUNDS, SECONDS = 12, 25.0
"""Steps of each kind, and about how long all of them may take."""
STEPS = 1000
"""That the training is said to have; the rate does not matter here."""
WHOLE, CEILING, ASKED = "end to end", "the same step on a batch that is there", "what is asked, made alone"
Timed = Callable[[], tuple[float, float]]
"""-> (seconds, of these waiting for images) of one more step."""
HELPS = 1.05
"""A setting that gains less is within the noise of a dozen steps."""


@dataclass(frozen=True)
class Speed:
    """What was measured, images a second and shares of a step's time."""

    rows: tuple[Row, ...]
    share: float
    """End to end over the ceiling."""
    waiting: float
    """Share of a step that waits for images."""
    views: float
    """Share of a step in which pictures are prepared."""
    advice: str


def bench_speed(recipe: Recipe, console: Console) -> tuple[list[Row], str]:
    """Images a second end to end and at the ceiling, and under each setting that could help -> (rows, what to do)."""
    speed = measure(recipe, console)
    return list(speed.rows), speed.advice


def measure(recipe: Recipe, console: Console) -> Speed:
    """As bench_speed, with its parts."""
    keep_memory()
    store = store_of(recipe, console)
    batch = batch_of(recipe, len(learned_from(store)), 1) // recipe.accumulate
    native: Precision = "bf16-mixed" if bf16_is_native() else "32-true"
    numbers = recipe.precision if recipe.precision != "auto" else native
    own = replace(recipe, precision=numbers, batch=batch, accumulate=1, growth=())  # steps of full size
    kinds = {WHOLE: _whole(own, store), CEILING: _held(own, store), ASKED: _asked(own, store)}
    others = dict[str, Recipe]()
    for name, other in _others(own, len(learned_from(store))).items():
        with suppress(UserError, ValueError, Diverged):  # too large for this memory, too few images for this task
            give_back()
            require_room(other, store.images, learned_from(store), other.batch_size)
            kinds[name] = _whole(other, store)
            for _ in range(_turns(own)):
                kinds[name]()
            others[name] = other
    kinds = {name: kinds[name] for name in (WHOLE, CEILING, ASKED, *others)}
    took = {name: list[tuple[float, float]]() for name in kinds}
    started = time.perf_counter()
    with console.status("timing steps in turn"):
        for turn in range(1 + max(ROUNDS, _turns(own))):
            for name, step in kinds.items():
                took[name].append(step())
            if turn > 2 * _turns(own) and time.perf_counter() - started > SECONDS:
                break
    first, turns = 1, _turns(own)  # the first also chooses kernels
    whole_turns = (len(took[WHOLE]) - first) // turns * turns
    late = {name: _by_turns(seconds[first : first + whole_turns], turns) for name, seconds in took.items()}
    rows = [_row(name, others[name].batch_size if name in others else batch, seconds) for name, seconds in late.items()]
    whole, ceiling, _, *rest = rows
    waiting = statistics.median(wait / seconds for seconds, wait in late[WHOLE])
    views = statistics.median(one[0] / two[0] for one, two in zip(late[ASKED], late[WHOLE], strict=True))
    share = whole.per_second / ceiling.per_second
    return Speed(tuple(rows), share, waiting, views, _advice(numbers, whole, share, (waiting, views), rest))


def _advice(numbers: str, whole: Row, share: float, parts: tuple[float, float], rest: list[Row]) -> str:
    said = (
        f"{whole.per_second:,.0f} images a second at {numbers}, {share:.0%} of what the network itself allows here; "
        f"{parts[0]:.1%} of a step waits for images, {parts[1]:.1%} makes what the network is asked."
    )
    if parts[1] > 1 - 1 / HELPS and not compiled_module("compiled") and not torch.cuda.is_available():
        said += " Views are made by torch: `pip install 'selfsight[fast]'` compiles them for this processor."
    best = max(rest, key=lambda row: row.per_second, default=None)
    if best is None or best.per_second < HELPS * whole.per_second:
        if share < 1 / HELPS:
            return f"{said} No setting tried gains {HELPS - 1:.0%}: what holds it up is before the network."
        return f"{said} None of the settings tried gains {HELPS - 1:.0%}: only fewer pixels or a smaller encoder would."
    return f"{said} What helps most: {best.setting}, {best.per_second / whole.per_second:.2f} times as fast."


def _others(recipe: Recipe, images: int) -> dict[str, Recipe]:
    """Recipes that may be faster, by what one would write; other sizes of batch learn a little otherwise."""
    precision: Precision = "32-true" if recipe.precision == "bf16-mixed" else "bf16-mixed"
    found = {f"--precision {precision}": replace(recipe, precision=precision)}
    for batch in (recipe.batch_size // 2, recipe.batch_size * 2):
        if 2 <= batch <= images:
            found[f"--batch {batch}"] = replace(recipe, batch=batch)
    return found


def _state(recipe: Recipe, store: Store) -> State:
    _, side, _, channels = store.images.shape
    model = build(recipe, side, channels)
    return state_of(recipe, model, solitary(recipe.precision), STEPS)


def _whole(recipe: Recipe, store: Store) -> Timed:
    """Steps as `pretrain` makes them -> (seconds, of these waiting) of the next one."""
    steps = train(_state(recipe, store), store.images, learned_from(store), batch=recipe.batch_size)

    def step() -> tuple[float, float]:
        one = next(steps)
        return one.seconds, one.waiting

    return step


def _held(recipe: Recipe, store: Store) -> Timed:
    """The same steps again and again on what was asked in the first of each task."""
    state = _state(recipe, store)
    batch, steps = _batch(state, recipe, store), itertools.count()
    held = [state.task.prepare(batch, _now(recipe, turn)) for turn in range(_turns(recipe))]

    def step() -> tuple[float, float]:
        turn = next(steps) % len(held)
        return _timed(lambda: learn(state, [held[turn]], 1, _now(recipe, turn))), 0.0

    return step


def _asked(recipe: Recipe, store: Store) -> Timed:
    """What `pretrain` does to images before the network sees them, alone."""
    state = _state(recipe, store)
    batch, steps = _batch(state, recipe, store), itertools.count()

    def step() -> tuple[float, float]:
        turn = next(steps) % _turns(recipe)
        return _timed(lambda: state.task.prepare(batch, _now(recipe, turn))), 0.0

    return step


def _batch(state: State, recipe: Recipe, store: Store) -> Batch:
    where = learned_from(store)
    return resident(state.fabric, store.images, where[order(recipe.seed, 0, len(where), recipe.batch_size)])


def _turns(recipe: Recipe) -> int:
    """Steps after which tasks that take turns begin anew."""
    task = recipe.task
    return len(task.tasks) if isinstance(task, Together) and task.how == "alternating" else 1


def _now(recipe: Recipe, step: int) -> Now:
    return Now(step, STEPS, generator(recipe.seed, "task", step, 0), {})


def _timed(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - before


def _by_turns(took: list[tuple[float, float]], turns: int) -> list[tuple[float, float]]:
    """Of tasks that take turns the mean step of each round, as one's steps differ from another's."""
    rounds = [took[start : start + turns] for start in range(0, len(took), turns)]
    return [tuple(statistics.fmean(each) for each in zip(*steps, strict=True)) for steps in rounds]  # type: ignore[misc]


def _row(name: str, batch: int, took: list[tuple[float, float]]) -> Row:
    rates = [batch / seconds for seconds, _ in took]
    return Row(name, statistics.median(rates), min(rates), max(rates))
