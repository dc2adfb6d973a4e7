"""Company on the machine: gives a busy neighbour its core, and takes it back when it is gone.

Two threads that wait for each other at every layer are slower than one as soon as another program wants one of their
cores: the system lets both take turns on what is left. Measured on two cores beside one busy process, SimCLR on the
small network, 32 pixels, bf16, median of 60 steps: 144 images/s with two threads, 510 with one.

The number of threads decides in which order numbers are added, and so the last bits of a sum. Where a curve is to
repeat itself bit by bit (fp32 on a processor), the threads are left alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

SECONDS = 2.0
"""Between two looks: shorter ones see bursts."""
BUSY, QUIET = 0.4, 0.15
"""Cores that others use from which one is given up, and below which it is taken back."""
RECENT = 3.0
"""Seconds after which what was used before tells of other times."""
Used = tuple[float, float, float]
"""(seconds on the clock, seconds of all programs on our cores, seconds of our own), each since some beginning."""


@dataclass
class Company:
    """Ask `look` after each step; put the threads back by `leave`."""

    most: int = field(default_factory=torch.get_num_threads)
    """Threads without company."""
    cores: int = field(default_factory=lambda: len(_ours()) or os.cpu_count() or 1)
    read: Callable[[], Used | None] = field(default_factory=lambda: used)
    threads: int = 0
    """Threads now."""
    told: bool = False
    said: str = ""
    """What a first look of `settle_in` gave to say."""

    def __post_init__(self) -> None:
        self.threads = self.most
        self.before = self.read() if self.most > 1 else None

    def look(self) -> str:
        """Sets torch's threads by what others used since the last look -> what to say, once; "" for most."""
        now = self.read() if self.before else None
        if now is None or self.before is None or now[0] - self.before[0] < SECONDS:
            return ""
        clock, everyone, own = (late - early for late, early in zip(now, self.before, strict=True))
        self.before = now
        others = max(0.0, everyone - own) / clock
        return self._give(others)

    def _give(self, others: float) -> str:
        wanted = self.threads
        if others >= BUSY:
            wanted = max(1, min(self.most, int(self.cores - others + BUSY)))
        elif others < QUIET:
            wanted = self.most
        else:  # too little to give way to, and a whole core is not free: of many cores all but one
            wanted = max(self.threads, min(self.most, int(self.cores - others)))
        fewer = wanted < self.threads
        if wanted == self.threads:
            return ""
        self.threads = wanted
        torch.set_num_threads(wanted)
        if self.told or not fewer:
            return ""
        self.told = True
        return (
            f"Others use {others:.1f} of {self.cores} cores: going on with {wanted} of {self.most} threads, which is "
            "faster beside them, and back to all when they are gone."
        )

    def leave(self) -> None:
        """As many threads as there were, and nothing left to say."""
        self.said = ""
        if self.threads != self.most:
            torch.set_num_threads(self.most)
            self.threads = self.most


def gives_way(company: str, precision: str) -> bool:
    """What a recipe's word means for a training of this precision, on this machine; "auto" counts as bf16.

    Several processes of one training are no company to one another.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return False
    exact = precision == "32-true" and not torch.cuda.is_available()
    return company == "give_way" or (company == "auto" and not exact)


def settle_in(seconds: float = 0.2, since: Used | None = None) -> Company:
    """A company that has had a first look, a short one, so that what is timed next is timed with the right threads.

    since: what `used` told a while ago, so that less has to be waited for.
    """
    company = Company()
    if company.before:
        before = since if since and company.before[0] - since[0] < RECENT else company.before
        clock = before[0]
        time.sleep(max(0.0, seconds - (company.before[0] - clock)))
        now = company.read()
        if now and now[0] > clock:
            company.said = company._give(max(0.0, (now[1] - before[1]) - (now[2] - before[2])) / (now[0] - clock))
    return company


def used() -> Used | None:
    """What Linux tells of the cores that this process may use; None elsewhere."""
    ours = _ours()
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    total = 0.0
    for line in lines:
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and (not ours or int(name[3:]) in ours):
            user, nice, system, _, _, irq, softirq = (int(number) for number in numbers[:7])
            total += (user + nice + system + irq + softirq) / ticks
    times = os.times()
    return time.monotonic(), total, times.user + times.system + times.children_user + times.children_system


def _ours() -> set[int]:
    """The cores that this process may run on; empty where that cannot be told."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:
        return set()
