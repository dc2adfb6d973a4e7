"""One line that tells how it goes. On a terminal it is redrawn; in a file it is written anew now and then."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from selfsight.task import Constant
from selfsight.train import Step

WINDOW = 50
"""Steps that rates and the loss are averaged over."""
WIDE = 150
"""Columns from which on a bar finds room beside the words."""
QUIET_SECONDS = 15.0
"""Between two lines where the output is not a terminal."""


class Line:
    """Use as a context; `update` after each step, `note` when the running probe has spoken."""

    def __init__(self, console: Console, steps: int, constant: Constant, done: int = 0) -> None:
        self.console, self.steps, self.constant, self.done = console, steps, constant, done
        self.recent: deque[Step] = deque(maxlen=WINDOW)
        self.spoken = ""
        self.written = time.monotonic()
        self.bar = Progress(
            TextColumn(
                "{task.completed:,.0f}/{task.total:,.0f}",
                table_column=Column(no_wrap=True, min_width=2 * len(f"{steps:,}") + 1),
            ),
            *([BarColumn(bar_width=18)] if console.width >= WIDE else []),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=False,
            disable=not console.is_terminal,
        )
        self.row = self.bar.add_task("", total=steps, completed=done)

    def __enter__(self) -> Line:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """What the running probe says, kept at the end of the line."""
        self.spoken = text

    def update(self, step: Step) -> None:
        self.recent.append(step)
        if self.bar.disable:
            if time.monotonic() - self.written > QUIET_SECONDS or step.number == self.steps:
                self.written = time.monotonic()
                self.console.print(
                    f"step {step.number:,}/{self.steps:,}  {self.text(step)}", highlight=False, soft_wrap=True
                )
        else:
            self.bar.update(self.row, completed=step.number, description=self.text(step))

    def text(self, step: Step) -> str:
        """Loss beside the constant answer's, the probe's last word, time left, speed, waiting: what matters most first,
        since a narrow terminal cuts off the end."""
        seconds = sum(s.seconds for s in self.recent)
        speed = sum(s.images for s in self.recent) / seconds
        waiting = sum(s.waiting for s in self.recent) / seconds
        left = (self.steps - step.number) * seconds / len(self.recent)
        loss = sum(s.loss for s in self.recent) / len(self.recent)
        parts = [
            f"loss {loss:.3f} (constant answer {self.constant.loss:.3f})",
            self.spoken,
            f"{clock(left)} left",
            f"{speed:,.0f} images/s",
            f"{waiting:.0%} waiting for data",
        ]
        return " · ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:10."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
