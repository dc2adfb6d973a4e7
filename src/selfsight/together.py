"""Together: several tasks teach one encoder, all in every step or in turns.

Every loss is measured in units of its task's best constant answer, so that 1 is what knowing nothing gives for each of
them, and no task drowns another because its loss happens to be counted in larger numbers (Doersch and Zisserman 2017,
"Multi-task Self-Supervised Visual Learning", sum theirs as they are).

Shapes: N images, V = the pictures of all tasks that are asked, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.task import Constant, Model, Task

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Together(Task):
    """Good where each task alone leaves something unseen: a puzzle for layout, views for what an image shows. Poor for
    very short trainings: each task gets a share of the time."""

    rests = True

    tasks: tuple[Task, ...]
    """Two or more tasks; on the command line `--task A --task B`."""
    how: Literal["summed", "alternating"] = "alternating"
    """alternating: each step asks one task, in turns; summed: each step asks all, at the cost of all."""
    weights: tuple[float, ...] = ()
    """What each loss counts, as many as tasks, > 0; none given: all alike."""

    def __post_init__(self) -> None:
        if len(self.tasks) < 2:
            raise ValueError(f"tasks are two or more, not {len(self.tasks)}: a single one needs no Together")
        if self.weights and (len(self.weights) != len(self.tasks) or min(self.weights) <= 0):
            raise ValueError(f"weights are {len(self.tasks)} numbers above 0, one per task, not {self.weights}")

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {
            f"{number}_{name}": part
            for number, task in enumerate(self.tasks)
            for name, part in task.parts(encoder).items()
        }

    def prepare(self, batch: Batch, now: Now) -> Example:
        asked = range(len(self.tasks)) if self.how == "summed" else [now.step % len(self.tasks)]
        examples = {number: self.tasks[number].prepare(batch, self._own(number, now)) for number in asked}
        extras: dict[str, Tensor] = {}
        for number, one in examples.items():
            extras[f"{number}_views"] = torch.full((len(one.inputs),), one.inputs.shape[1])
            extras |= {f"{number}_{name}": value for name, value in one.extras.items()}
            if one.answer is not None:
                extras[f"{number}_answer"] = one.answer
        return Example(torch.cat([one.inputs for one in examples.values()], 1), batch.index, extras=extras)

    def predict(self, model: Model, example: Example) -> Prediction:
        return {
            f"{number}_{name}": value
            for number, task, one in self._asked(example)
            for name, value in task.predict(self._part(model, number), one).items()
        }

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        total, measures = torch.zeros((), device=example.inputs.device), dict[str, Tensor]()
        asked = list(self._asked(example))
        counts = {number: self.weights[number] if self.weights else 1.0 for number, _, _ in asked}
        for number, task, one in asked:
            outcome = task.loss(_of(number, prediction), one)
            constant = task.constant(len(one.inputs))
            unit = 1.0 if constant.optimal or constant.loss <= 0 else constant.loss
            total = total + counts[number] / sum(counts.values()) * outcome.loss / unit
            measures |= {f"{self._named(number)} {name}": value for name, value in outcome.measures.items()}
        return Outcome(total, measures)

    def after_step(self, model: Model, example: Example, prediction: Prediction, now: Now) -> None:
        for number, task, one in self._asked(example):
            task.after_step(self._part(model, number), one, _of(number, prediction), self._own(number, now))

    def judged(self, model: Model, images: Tensor) -> dict[str, float]:
        """Of the first task that has something to say, under the names it gives."""
        told = (task.judged(self._part(model, number), images) for number, task in enumerate(self.tasks))
        return next((numbers for numbers in told if numbers), {})

    def rates(self) -> dict[str, float]:
        return {f"{i}_{name}": rate for i, task in enumerate(self.tasks) for name, rate in task.rates().items()}

    def usual_batch(self) -> int:
        return max(task.usual_batch() for task in self.tasks)

    def constant(self, n: int) -> Constant:
        known = [not task.constant(n).optimal for task in self.tasks]
        weights = self.weights or (1.0,) * len(self.tasks)
        share = sum(weight for weight, one in zip(weights, known, strict=True) if one) / sum(weights)
        return Constant(share, "1 for each task: its best constant answer", optimal=not all(known))

    def question(self) -> str:
        joined = " ".join(task.question() for task in self.tasks)
        return joined if self.how == "summed" else f"In turns: {joined}"

    def caption(self, example: Example, i: int) -> str:
        return "; ".join(task.caption(one, i) for _, task, one in self._asked(example))

    def _asked(self, example: Example) -> Iterator[tuple[int, Task, Example]]:
        """The tasks that an example asks, each with its own part of it."""
        first = 0
        for number, task in enumerate(self.tasks):
            own = _of(number, example.extras)
            if "views" in own:
                views = int(own.pop("views")[0])
                inputs = example.inputs[:, first : first + views]
                yield number, task, Example(inputs, example.index, own.pop("answer", None), own)
                first += views

    def _own(self, number: int, now: Now) -> Now:
        """Now, with the measures of one task under the names it gave."""
        name = f"{self._named(number)} "
        own = {key.removeprefix(name): v for key, v in now.measured.items() if key.startswith(name)}
        return replace(now, measured=own)

    def _named(self, number: int) -> str:
        return type(self.tasks[number]).__name__

    def _part(self, model: Model, number: int) -> Model:
        return Model(model.encoder, _of(number, dict(model.parts.items())))


def _of(number: int, named: Mapping[str, T]) -> dict[str, T]:
    """What belongs to one task, under the names it gave."""
    return {name.removeprefix(f"{number}_"): v for name, v in named.items() if name.startswith(f"{number}_")}
