"""The killed-test: does a fault do harm on its host at all? (Humbatova et al., DeepCrime, ISSTA 2021.)

Clean and faulty trainings, five seeds each; a fault is *killed* when its scores are lower with Welch's p < .05 and d >= .5, or when
training raises. Faults that survive are *latent*: kept apart, and not counted for or against the doctor.

    python -m doctor_programs.killed --out FILE [--hosts simclr byol] [--faults F33 F34]

appends one JSON line per host and fault as it goes; what FILE holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_ind

from doctor_programs.faults import DOUBLES, FAULTS, Double, Fault
from doctor_programs.host import Host
from doctor_programs.hosts import HOSTS

SEEDS = 5


def harm(clean: Sequence[float], faulty: Sequence[float]) -> tuple[float, float]:
    """Welch's two-sided p, and Cohen's d with the pooled spread, positive where the faulty scores are lower."""
    difference = float(np.mean(clean) - np.mean(faulty))
    spread = math.sqrt((np.var(clean, ddof=1) + np.var(faulty, ddof=1)) / 2)
    if spread == 0:
        return (1.0, 0.0) if difference == 0 else (0.0, math.copysign(math.inf, difference))
    return float(ttest_ind(clean, faulty, equal_var=False).pvalue), difference / spread


def killed(clean: Sequence[float], faulty: Sequence[float]) -> bool:
    """Whether the faulty scores are lower beyond doubt."""
    p, d = harm(clean, faulty)
    return p < 0.05 and d >= 0.5


def scores(host: Host) -> tuple[list[float], str | None]:
    """The scores of five seeds, or those before an exception and what it said."""
    told: list[float] = []
    for seed in range(SEEDS):
        try:
            told.append(host.score(seed))
        except Exception as error:
            return told, f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return told, None


def judged(host: Host, fault: Fault | Double, clean: Sequence[float]) -> dict[str, Any] | None:
    """One line: what the fault did to the host. None where it makes no sense there."""
    started = time.perf_counter()
    faulty = fault.inject(host)
    if faulty is None:
        return None
    told, raised = scores(faulty)
    line: dict[str, Any] = {
        "host": host.name,
        "fault": fault.id,
        "name": fault.name,
        "scores": told,
        "clean": list(clean),
    }
    if raised is None:
        p, d = harm(clean, told)
        line |= {"p": p, "d": d if math.isfinite(d) else None, "killed": killed(clean, told)}
    else:
        line |= {"raised": raised, "killed": True}
    return line | {"seconds": round(time.perf_counter() - started, 1)}


def resumed(out: Path) -> tuple[dict[str, list[float]], set[tuple[str, str]]]:
    """What a file holds already: the clean scores by host, and the (host, fault) that are done."""
    text = out.read_text(encoding="utf-8") if out.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # the process was ended while it wrote
        out.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    clean = {line["host"]: line["scores"] for line in lines if line["fault"] is None}
    return clean, {(line["host"], line["fault"]) for line in lines if line["fault"]}


def append(out: Path, line: dict[str, Any]) -> None:
    """One more line, on disk at once."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    told = f"{line['host']:12} {line['fault'] or 'clean':6}"
    mean = f"{np.mean(line['scores']):.3f}" if line["scores"] else "-"
    verdict = "" if line["fault"] is None else "killed" if line["killed"] else "latent"
    print(told, mean, verdict, line.get("raised", ""), flush=True)


def run(out: Path, hosts: Sequence[Host], faults: Sequence[Fault | Double]) -> None:
    """Judges every fault on every host that is not in the file yet."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for host in hosts:
        clean, done = resumed(out)
        if host.name not in clean:
            told, raised = scores(host)
            if raised:
                raise RuntimeError(f"The clean {host.name} raised {raised}: it is no host.")
            append(out, {"host": host.name, "fault": None, "scores": told})
            clean[host.name] = told
        for fault in faults:
            if (host.name, fault.id) in done:
                continue
            line = judged(host, fault, clean[host.name])
            if line:
                append(out, line)


def main() -> None:
    """The command line."""
    every = (*FAULTS, *DOUBLES)
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True, help="a JSON-lines file, continued where it ends")
    arguments.add_argument("--hosts", nargs="+", choices=[host.name for host in HOSTS], metavar="HOST")
    arguments.add_argument("--faults", nargs="+", choices=[fault.id for fault in every], metavar="FAULT")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    run(
        given.out,
        [host for host in HOSTS if not given.hosts or host.name in given.hosts],
        [fault for fault in every if not given.faults or fault.id in given.faults],
    )


if __name__ == "__main__":
    main()
