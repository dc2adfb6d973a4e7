"""The doctor's instruments are tested before they are believed: each check on a planted fault and on a healthy program.

Published doctors had checks that could never fire and metrics over the wrong axis; nobody noticed for years. A check
that fails its own test is off, and the diagnosis says so. Results are kept for as long as neither selfsight nor torch
changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from selfsight import __version__
from selfsight.case import Failed, examining
from selfsight.check import Check, DoesNotApply
from selfsight.program import Program
from selfsight.run import write_json
from selfsight.store import cache

SOURCES = ("checks", "instruments", "case.py", "check.py", "swap.py", "planted.py", "program.py")


def unfit(checks: Sequence[Check], said: Callable[[str], None] | None = None) -> dict[str, str]:
    """Code -> how it failed its own test, of those that did; tests only what has not been tested before."""
    place = kept()
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(place.read_text(encoding="utf-8"))
    untested = [check for check in checks if check.code not in known]
    for check in untested:
        if said:
            said(f"testing the doctor's own instruments, once: {check.code}")
        known[check.code] = fault_of(check)
    if untested:
        with contextlib.suppress(OSError):  # a cache that cannot be written is only slower
            write_json(place, known)
    return {check.code: known[check.code] for check in checks if known[check.code]}


def kept() -> Path:
    """Where the results of these tests are kept, for these versions and this source."""
    return cache().parent / f"selftest-{_fingerprint()}.json"


def fault_of(check: Check) -> str:
    """How a check fails its own test; "" where it passes."""
    sick, well = check.planted()
    if not _finds(check, sick):
        return "failed its own test: it finds nothing in a program with a planted fault"
    found = _finds(check, well, alarms=True)
    return f"failed its own test: it finds {found} in a healthy program" if found else ""


def _finds(check: Check, program: Program, alarms: bool = False) -> str:
    """The causes a check finds in a program, joined; "" where it finds none."""
    with warnings.catch_warnings(), examining(program) as case:
        warnings.simplefilter("ignore")
        try:
            findings = check.ask(case)
        except (DoesNotApply, Failed):
            return ""
    return ", ".join(finding.cause for finding in findings if finding.alarms or not alarms)


def _fingerprint() -> str:
    """A key of the versions and of the source that the checks are made of."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__}".encode())
    package = Path(__file__).parents[1]
    for name in SOURCES:
        part = package / name
        for file in sorted(part.glob("*.py")) if part.is_dir() else [part]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
