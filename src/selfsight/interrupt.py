"""Ctrl+C as a wish, not an accident: the first asks to stop after this step, the second leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

EXIT = 130
"""What a shell expects of a program ended by Ctrl+C."""


class Interrupt:
    """Use as a context around the loop; `asked` is True once the user, or a scheduler's SIGTERM, wants to stop."""

    def __init__(self) -> None:
        self.asked = False
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
        if self.asked:
            os._exit(EXIT)
        self.asked = True
