"""Ctrl+C as a wish, not an accident: the first asks to stop after this step, the second leaves at once.

A scheduler's SIGTERM asks to stop, however often it comes: it reaches a process of torchrun's twice, from the scheduler
and handed on by torchrun, and so does a Ctrl+C.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

ECHO = 1.0
"""Seconds within which a second signal is the first one, handed on."""
EXIT = 130
"""What a shell expects of a program ended by Ctrl+C."""


class Interrupt:
    """Use as a context around the loop; `asked` is True once the user, or a scheduler's SIGTERM, wants to stop."""

    def __init__(self) -> None:
        self.asked, self._since = False, 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        again = self.asked and time.monotonic() - self._since > ECHO
        if again and number == signal.SIGINT:
            os._exit(EXIT)
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
