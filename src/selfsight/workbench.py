"""pretrain and resume: the body of `for step in train(...)`, where recording, probing, saving and stopping are ordinary
lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.console import Console

from selfsight import checkpoint
from selfsight.allocator import give_back, keep_memory
from selfsight.check import Finding
from selfsight.company import Company, Used, gives_way, settle_in, used
from selfsight.config import configure
from selfsight.engine import Engine, engine
from selfsight.environment import environment
from selfsight.errors import UserError
from selfsight.exhibits import draw_puzzles, show_embedding
from selfsight.findings import doubts, renewed
from selfsight.interrupt import Interrupt
from selfsight.introducing import introduce, introduce_pace, write_plan
from selfsight.keepsakes import Keepsakes, forget
from selfsight.pace import Expected, remember_pace
from selfsight.plan import Plan, build, known_of, require_unchanged, settle, state_of, untrained
from selfsight.progress import Line
from selfsight.quality import RunningProbe, beside_untrained, judged
from selfsight.recipe import Recipe, to_json
from selfsight.run import Run
from selfsight.sources import InMemory, Packed
from selfsight.store import Store
from selfsight.storing import learned_from, say_left_out, store_of
from selfsight.task import Model
from selfsight.train import Diverged, State, Step, train

if TYPE_CHECKING:
    from selfsight.doctor.preflight import FirstMinute

SAVE_SECONDS = 60.0
"""Longest time between two checkpoints."""
PROBES = 10
"""How often the running probe speaks in one training. Each time costs as much as a step or two of 256 images."""


class Unhealthy(Exception):
    """The doctor found something in the first minute, and the training was asked to be strict; carries the run."""

    def __init__(self, run: Run) -> None:
        super().__init__(str(run.path))
        self.run = run


class Stopped(Exception):
    """The training was interrupted and everything is saved; carries the run."""

    def __init__(self, run: Run) -> None:
        super().__init__(str(run.path))
        self.run = run


@dataclass(frozen=True)
class Bench:
    """What a training needs around it."""

    run: Run
    recipe: Recipe
    store: Store
    where: np.ndarray
    console: Console
    save_seconds: float
    doctor: Literal["off", "on", "strict"] = "on"
    known: Path | None = None
    """Where it is kept what such steps take, of a training from its beginning; see remembered.py."""


def pretrain(
    data: Any = None,
    *,
    recipe: Recipe | None = None,
    out: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    save_seconds: float = SAVE_SECONDS,
    doctor: Literal["off", "on", "strict"] = "on",
    **settings: Any,
) -> Run:
    """Learns an encoder from the images in `data` and returns the run, a folder with everything about it.

    data: a path or a Source; settings: fields of Recipe (task=SimCLR(temperature=0.1), encoder="resnet18", minutes=5);
    or a whole `recipe`. out: the run's folder, runs/<time>_<task> where not given. console: where to tell how it goes.
    doctor: on says in the first minute what cannot be learned from, and goes on; strict stops there; off looks at
    nothing. Raises UserError for input that cannot be used, Stopped after Ctrl+C, with everything saved, and Unhealthy.
    """
    if recipe is not None and (data is not None or settings):
        raise UserError("Give a whole recipe=, or data= and settings, not both: a recipe already says everything.")
    if recipe is None:
        if data is None:
            raise UserError("Which images? Give data=, a folder for example, or a whole recipe=.")
        recipe = Recipe(data=_readable(data), **settings)
    console = _console(console)
    where_to = Path(out) if out is not None else Run.default_path(type(recipe.task).__name__)
    if _is_first() and (where_to / "recipe.json").exists():
        Run.create(where_to)  # says that there is a run, before any work is done
    early = used()
    store = store_of(recipe, console)
    where = learned_from(store)
    size, channels = store.images.shape[2:]
    model = build(recipe, size, channels)  # before there is a run: what cannot be built leaves none
    with _company(recipe, early) as company:
        plan, known = _settled(recipe, store.images, where, company)
        run = Run.create(where_to) if _is_first() else Run(where_to)
        if isinstance(recipe.data, InMemory):
            # arrays cannot be written into a recipe; what was packed of them can be found
            recipe = dataclasses.replace(recipe, data=Packed(str(store.path)))
        if _is_first():
            run.write("recipe", to_json(recipe))
            told = environment("cuda" if torch.cuda.is_available() else "cpu")
            run.write("environment", told | {"memory_kept_between_steps": keep_memory()})
        with _claimed(run):
            return _go(Bench(run, recipe, store, where, console, save_seconds, doctor, known), company, plan, model)


@contextlib.contextmanager
def _company(recipe: Recipe, early: Used | None = None) -> Iterator[Company]:
    """With memory kept, and beside a neighbour with the threads there will be: as steps are timed, so they are made.

    early: what was used when the work began."""
    keep_memory()
    company = settle_in(since=early) if gives_way(recipe.company, recipe.precision) else Company()
    try:
        yield company
    finally:
        company.leave()


def _settled(recipe: Recipe, images: np.ndarray, where: np.ndarray, company: Company) -> tuple[Plan, Path | None]:
    """The plan, settled again where steps were timed with fewer threads than there will be; and where it is kept what
    such steps take."""
    known = known_of(recipe, images, where)
    plan = settle(recipe, images, where, known)
    if company.threads != company.most and not gives_way(recipe.company, plan.precision):
        company.leave()
        give_back()
        chosen: Any = plan.precision
        known = known_of(recipe, images, where)
        again = settle(dataclasses.replace(recipe, precision=chosen), images, where, known)
        plan = dataclasses.replace(again, precision_reason=plan.precision_reason)
    return plan, known


def resume(
    run: str | os.PathLike[str] | Run, *, console: Console | None = None, save_seconds: float = SAVE_SECONDS
) -> Run:
    """Goes on with a run from its last checkpoint, exactly as if it had not stopped: to the last bit in fp32, and in
    bf16 where no neighbour changed the number of threads.

    Raises UserError where `run` is no run, is finished, or its images have changed; Stopped after Ctrl+C.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    console = _console(console)
    recipe, plan = configure(run.json("recipe")), run.json("plan")
    if (run.path / "finished.json").exists():
        raise UserError(
            f"{run.path} is finished: all {plan['steps']:,} steps are made. Train longer by a new run with "
            f"--encoder.weights {run.path}."
        )
    store = store_of(recipe, console)
    if plan and plan["store"] != store.key:
        raise UserError(
            f"The images of {run.path} are not the ones it was started with, so it cannot go on exactly. Start "
            "a new run."
        )
    with _claimed(run), _company(recipe) as company:
        return _go(Bench(run, recipe, store, learned_from(store), console, save_seconds), company)


@contextlib.contextmanager
def _claimed(run: Run) -> Iterator[None]:
    """Holds the run for this process (the first of several); a lock that dies with it. Raises UserError where taken."""
    if not _is_first():
        yield
        return
    try:
        with FileLock(run.path / "run.lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{run.path} is being trained by another process. Wait for it, or stop it first.") from error


def _go(bench: Bench, company: Company, plan: Plan | None = None, model: Model | None = None) -> Run:
    if _is_first():
        bench.run.sweep()
    plan = plan or _plan(bench, company)
    return _train(bench, plan, company, model or build(bench.recipe, plan.size, plan.channels))


def _train(bench: Bench, plan: Plan, company: Company, model: Model) -> Run:
    run, recipe, first = bench.run, bench.recipe, _is_first()
    watched = company if gives_way(recipe.company, plan.precision) else None
    if watched is None:
        company.leave()
    elif company.said:
        bench.console.print(company.said, highlight=False)
    fabric = engine(plan.precision, recipe.task.rests)
    if fabric.world_size > 1:  # the first process's word holds: the others may have timed, or named the run, otherwise
        plan, run = fabric.broadcast((plan, run))
        bench = dataclasses.replace(bench, run=run)
    state = state_of(recipe, model, fabric, plan.steps)
    checkpoint.restore(run, state)
    if first:
        run.rewind(state.step)
        forget(run, state.step)
        write_plan(run, recipe, bench.store, plan, model.encoder)
        introduce(run, recipe, plan, model.encoder, bench.console)
        if state.step:
            bench.console.print(f"going on after step {state.step:,}", highlight=False)
        else:
            introduce_pace(plan, bench.console)
            _examine(bench, plan)
    with Interrupt() as interrupt:  # to the very end: what is handed on may come late
        return _to_the_end(bench, plan, state, watched, interrupt)


def _to_the_end(bench: Bench, plan: Plan, state: State, company: Company | None, interrupt: Interrupt) -> Run:
    """The loop, and what is worth knowing after it. Raises Stopped where it was interrupted."""
    run, recipe = bench.run, bench.recipe
    try:
        stopped = _loop(bench, plan, state, company, interrupt)
    except Diverged as error:
        raise UserError(
            f"Training stopped: {error}. The checkpoints before it are kept in {run.path}. "
            f"Try a lower rate (--optimizer.rate {recipe.optimizer.rate / 5:g}) or clipping (--optimizer.clip 1)."
        ) from error
    if state.fabric.global_rank == 0:
        _finish(bench, plan, state)
        if stopped:
            raise Stopped(run)
        run.write("finished", {"steps": state.step})
        remember_pace(bench.known, plan.precision, run.lines("pace"))
    return run


def _plan(bench: Bench, company: Company) -> Plan:
    """The run's plan, as it was settled before or as it is settled now."""
    known = bench.run.json("plan")
    if known:
        require_unchanged(bench.recipe, known.get("reads", {}))
        return Plan(**{field.name: known[field.name] for field in dataclasses.fields(Plan) if field.name in known})
    return _settled(bench.recipe, bench.store.images, bench.where, company)[0]


def _first_minute(bench: Bench, plan: Plan, state: State) -> FirstMinute | None:
    if bench.doctor == "off" or state.step > 0:
        return None
    from selfsight.doctor.preflight import FirstMinute

    examples = plan.batch // bench.recipe.accumulate
    return FirstMinute(bench.recipe.task.constant(examples), examples, dict(state.model.parts.items()).get("twin"))


def _loop(bench: Bench, plan: Plan, state: State, company: Company | None, interrupt: Interrupt) -> bool:
    """Trains to the end, or to the first Ctrl+C -> whether it was stopped before the end."""
    run, recipe, first = bench.run, bench.recipe, state.fabric.global_rank == 0
    constant = recipe.task.constant(plan.batch // recipe.accumulate)
    probe = RunningProbe(bench.store, bench.where, lambda: untrained(recipe, plan), recipe.seed) if first else None
    keepsakes = Keepsakes(run, recipe.task, bench.store, bench.where, recipe.seed)
    every = max(1, plan.steps // PROBES)
    minute = _first_minute(bench, plan, state)
    planned = plan.steps * (plan.seconds_per_step or 0.0) / 60
    expected = Expected(bench.known if plan.seconds_of else None, plan.precision, planned)
    saved = time.monotonic()
    with Line(bench.console, plan.steps, constant, state.step) as line:
        for step in train(state, bench.store.images, bench.where, batch=plan.batch, accumulate=recipe.accumulate):
            if probe:
                _record(bench, step, company)
                if step.number % every == 0 or step.number == plan.steps:
                    with state.fabric.autocast():
                        records = probe.ask(state.model.encoder)
                    for record in records:
                        run.append("probes", {"step": step.number, **record})
                    keepsakes.keep(state.model, step.number)
                    line.note(probe.say(records))
                line.update(step)
                _tell(bench, minute.look(step.loss) if minute else [])
                if said := expected.look(step.seconds - step.waiting):
                    bench.console.print(said, highlight=False)
                if time.monotonic() - saved > bench.save_seconds:
                    checkpoint.save(run, state)
                    _save_encoder(bench, state)
                    saved = time.monotonic()
            if company and (said := company.look()):
                bench.console.print(said, highlight=False)
            if _any(state.fabric, interrupt.asked):
                bench.console.print("Stopping: saving, and looking at what there is. Ctrl+C again leaves at once.")
                break
        if first:
            checkpoint.save(run, state)
            _save_encoder(bench, state)
    return state.step < plan.steps


def _record(bench: Bench, step: Step, company: Company | None) -> None:
    """A line of each step; and what the network is asked as a picture, when the first one is made."""
    run = bench.run
    run.append("series", {"step": step.number, "loss": step.loss, **step.measures})
    took = {"seconds": round(step.seconds, 5), "waiting": round(step.waiting, 5), "images": step.images}
    fewer = {"threads": company.threads} if company and company.threads != company.most else {}
    run.append("pace", {"step": step.number, **took, **fewer})
    if step.number == 1:
        draw_puzzles(run, bench.recipe.task, bench.store, bench.where, bench.recipe.seed)


def _examine(bench: Bench, plan: Plan) -> None:
    """The pre-flight: some of the doctor's checks on this recipe, before its first step."""
    if bench.doctor != "off":
        from selfsight.doctor.preflight import preflight

        _tell(
            bench,
            preflight(dataclasses.replace(bench.recipe, batch=plan.batch), bench.store.images, bench.where, plan.steps),
        )


def _tell(bench: Bench, findings: list[Finding]) -> None:
    """Says and keeps what the doctor found. Raises Unhealthy where the training is strict."""
    if not findings:
        return
    from selfsight.doctor.preflight import recorded, said

    bench.console.print(said(findings), highlight=False, markup=False)
    bench.run.write("findings", [*(bench.run.json("findings") or []), *recorded(findings)])
    if bench.doctor == "strict":
        raise Unhealthy(bench.run)


def _any(fabric: Engine, asked: bool) -> bool:
    """Whether any process was asked to stop, so that all stop after the same step."""
    if fabric.world_size == 1:
        return asked
    return bool(torch.as_tensor(fabric.all_reduce(torch.tensor(float(asked)), reduce_op="sum")) > 0)


def _save_encoder(bench: Bench, state: State) -> None:
    about = {"task": type(bench.recipe.task).__name__, "step": state.step, "steps": state.steps}
    checkpoint.save_encoder(
        bench.run.path / "encoder.safetensors", state.model.encoder, to_json(bench.recipe.backbone), about
    )


def _finish(bench: Bench, plan: Plan, state: State) -> None:
    """What is worth knowing once training has ended, early or not: label-free quality, exhibits, the report."""
    from selfsight.reporting import write_report

    run, seed = bench.run, bench.recipe.seed
    after, before = state.model.encoder.cpu(), untrained(bench.recipe, plan)
    images = bench.store.images[bench.where[np.sort(np.random.default_rng(seed).permutation(len(bench.where))[:2000])]]
    scores = run.json("scores") | {"label_free": beside_untrained(after, before, images, seed)}
    run.write("scores", scores)
    run.write("scores", scores | {"answers": judged(bench.recipe.task, state.model, bench.store, bench.where, seed)})
    show_embedding(run, bench.store, bench.where, after, before, seed)
    across = sum(group.across for group in bench.store.duplicates)
    run.write("findings", renewed(run, across))
    write_report(run)
    for doubt in doubts(run):
        bench.console.print(doubt, highlight=False, markup=False, soft_wrap=True)
    say_left_out(bench.store, bench.console, run.path / "skipped.csv")
    last = run.lines("probes")
    told = f"; {last[-1]['name']} {last[-1]['value']:.3g} (untrained {last[-1]['untrained']:.3g})" if last else ""
    bench.console.print(f"{state.step:,} of {state.steps:,} steps made{told}", highlight=False)
    bench.console.print(
        f"encoder: {run.path / 'encoder.safetensors'}\nreport:  {run.path / 'report.html'}",
        highlight=False,
        soft_wrap=True,
    )


def _readable(data: Any) -> Any:
    """What a recipe takes for its data: a path as text, an array or tensor of images as a source."""
    if isinstance(data, os.PathLike):
        return str(data)
    return InMemory(np.asarray(data)) if hasattr(data, "__array__") else data


def _console(console: Console | None) -> Console:
    return console or Console(stderr=True, quiet=not _is_first())


def _is_first() -> bool:
    """Whether this process writes: the only one, or torchrun's first."""
    return int(os.environ.get("RANK", 0)) == 0
