"""On what a run was made: versions, machine, code, command. Torch-free."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("selfsight", "torch", "torchvision", "timm", "lightning-fabric", "scikit-learn", "numpy", "numba", "pillow")


def environment(device: str) -> dict[str, Any]:
    """What environment.json holds."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": {**machine(), "device": device},
        "git": commit(),
        "command": ["selfsight", *sys.argv[1:]] if Path(sys.argv[0]).stem in ("selfsight", "__main__") else sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    return {"processor": _processor(), "cores": cores, "memory_gib": memory and round(memory, 1)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str | None:
    """The git commit of the working directory, "-dirty" behind it where files were changed; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
