"""A recipe is the whole description of one training: frozen, comparable, and the same in Python, JSON and on the
command line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from selfsight.corruption import Corruption
from selfsight.distance import Distance
from selfsight.encoder import Backbone
from selfsight.encoders import Small, named
from selfsight.errors import UserError
from selfsight.growth import require_growing
from selfsight.images.views import Views
from selfsight.optimizer import Optimization
from selfsight.places import anchor
from selfsight.restorer import Restorer
from selfsight.source import Source
from selfsight.sources.guess import located
from selfsight.speller import Speller
from selfsight.task import Task
from selfsight.tasks import SimCLR
from selfsight.view import ViewSource

Precision = Literal["auto", "32-true", "bf16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, on what, how long. Every field but `data` has a default that works."""

    data: Source | str
    """Where the images come from; a path stands for the source it looks like."""
    task: Task = SimCLR()
    """What the network is asked: one of `selfsight.tasks`, or a class of yours as my_file.MyTask."""
    encoder: Backbone | str = Small()
    """What you keep: "small", or the name of any timm backbone."""
    size: int | None = None
    """Side of the images in pixels; None takes the images' own, at most 64."""
    minutes: float | None = None
    """How long to train, set-up not counted: so many steps as fit by the last whole training of the same kind here, or
    by a few timed before the start. Without minutes, epochs and steps: 10 minutes."""
    epochs: float | None = None
    """How many times every image is seen."""
    steps: int | None = None
    """How many steps to make."""
    batch: int | None = None
    """Images a step, over all processes; fewer where there are fewer images. None: as many as suit the task, 256, of
    Restore 32, and 8 for each process at least."""
    growth: tuple[float, ...] = ()
    """Smaller pictures first: shares of the full side, such as [0.5, 0.75], each for as many steps as the full one."""
    accumulate: int = 1
    """Micro-batches a step. Saves memory; a contrastive task finds its candidates within one micro-batch."""
    optimizer: Optimization = Optimization()
    """How the weights move."""
    seed: int = 0
    """Every draw is a function of this number and the step."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it and a few timed steps are faster with it."""
    fused: bool = True
    """Batch norm, ReLU and what is added before it in as few passes as there can be, compiled: in timm's plain residual
    networks and the small one, in bf16 on a processor, with selfsight[fast]."""

    company: Literal["auto", "give_way", "ignore"] = "auto"
    """give_way goes down to as many threads as others leave cores, and back; ignore keeps all. auto gives way but in
    fp32 on a processor, where a resumed curve is to repeat itself bit by bit, and threads decide the last bits."""

    def __post_init__(self) -> None:
        given = [name for name in ("minutes", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(
                f"Give one of --minutes, --epochs and --steps, not {' and '.join('--' + name for name in given)}."
            )
        for name in ("size", "minutes", "epochs", "steps", "batch", "accumulate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"--{name} must be more than 0, not {value}.")
        require_growing(self.growth)
        if not isinstance(self.task, Task):
            raise UserError(f"task is {self.task!r}: give a task, SimCLR() for example.")
        if self.batch and self.batch % self.accumulate:
            raise UserError(f"--batch {self.batch} cannot be divided into --accumulate {self.accumulate} equal parts.")
        if isinstance(self.data, str):
            object.__setattr__(self, "data", located(self.data))
        if isinstance(self.encoder, str):
            object.__setattr__(self, "encoder", named(self.encoder))
        if getattr(self.encoder, "weights", None):
            encoder: Any = dataclasses.replace(self.encoder)  # type: ignore[type-var]
            anchor(encoder, "weights")
            object.__setattr__(self, "encoder", encoder)

    @property
    def batch_size(self) -> int:
        """`batch`, or what suits the task."""
        return self.batch or self.task.usual_batch()

    @property
    def source(self) -> Source:
        assert isinstance(self.data, Source)
        return self.data

    @property
    def backbone(self) -> Backbone:
        assert isinstance(self.encoder, Backbone)
        return self.encoder


def to_json(value: Any) -> Any:
    """A recipe (or any frozen value of one) as plain JSON: a dataclass becomes its fields, a final names its class."""
    if isinstance(value, Views):  # stands for itself wherever views are named
        return _fields(value)
    if isinstance(value, Task | Backbone | Source | Corruption | Restorer | Distance | Speller | ViewSource):
        return {"class_path": f"{type(value).__module__}.{type(value).__qualname__}", "init_args": _fields(value)}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
