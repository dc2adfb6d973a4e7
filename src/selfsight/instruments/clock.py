"""Time that a busy machine does not shorten: an allowance is spent by what this thread works, not by how long it waits.

On a quiet machine both are nearly the same. Beside other processes the clock on the wall would end trainings and
searches sooner, and the answers would depend on who else is there.
"""

from __future__ import annotations

import time

PATIENT = 4.0
"""An allowance is over after so many times its length on the wall, however little was worked (sleep, loaders, GPUs)."""


class Allowance:
    """Seconds of work that may be spent from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._worked, self._began = time.thread_time(), time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds of it that are gone."""
        return max(time.thread_time() - self._worked, (time.monotonic() - self._began) / PATIENT)

    @property
    def over(self) -> bool:
        return self.spent > self.seconds
