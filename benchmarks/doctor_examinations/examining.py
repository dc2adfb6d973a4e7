"""What is examined, and the examinations themselves: each in a process of its own, kept as soon as it ends."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from doctor_programs.host import Host

SEEDS = 3
"""Each clean host is examined under so many random states."""
PATIENCE = 300.0
"""Seconds of an examination, at most: far above the bar, so that a busy machine changes no answer."""


@dataclass(frozen=True)
class Subject:
    """One program to be examined, by names that any process can find it under."""

    kind: str
    """clean, fault, double or odd."""
    id: str
    host: str = ""
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.id}/{self.host}/{self.seed}"


def subjects(hosts: Sequence[Host], quick: bool) -> list[Subject]:
    """Every clean host and seed, every fault and double fault that makes sense on a host, every odd program."""
    from doctor_odd import ODD
    from doctor_programs.faults import DOUBLES, FAULTS

    every = [Subject("clean", "clean", host.name, seed) for host in hosts for seed in range(1 if quick else SEEDS)]
    for host in hosts:
        every += [Subject("fault", fault.id, host.name) for fault in FAULTS if fault.inject(host) is not None]
        if not quick:
            every += [Subject("double", pair.id, host.name) for pair in DOUBLES if pair.inject(host) is not None]
    return every + [Subject("odd", odd.id) for odd in (ODD[::4] if quick else ODD)]


def program_of(subject: Subject) -> Any:
    """The program of a subject."""
    from doctor_odd import ODD
    from doctor_programs.faults import DOUBLES, FAULTS
    from doctor_programs.hosts import HOSTS

    if subject.kind == "odd":
        return next(odd for odd in ODD if odd.id == subject.id).program()
    host = next(host for host in HOSTS if host.name == subject.host)
    if subject.kind == "clean":
        return host.program()
    fault = next(fault for fault in (*FAULTS, *DOUBLES) if fault.id == subject.id)
    faulty = fault.inject(host)
    assert faulty is not None
    return faulty.program()


def examine_one(subject: Subject) -> dict[str, Any]:
    """One line: what the doctor and the rivals say of a program."""
    import selfsight

    torch.set_num_threads(1)
    torch.manual_seed(subject.seed)
    began, cpu = time.perf_counter(), time.process_time()
    program = program_of(subject)
    diagnosis = selfsight.examine(program, seconds=PATIENCE)
    found = diagnosis.to_json()
    for finding in found["findings"]:
        place = finding.pop("place")
        finding["at"] = (
            f"{place['name']} ({Path(place['file']).name}:{place['line']})" if place["file"] else place["name"]
        )
        finding["evidence"] = {name: v for name, v in finding["evidence"].items() if not isinstance(v, list)}
    line = {**asdict(subject), "key": subject.key, "findings": found["findings"], "repair": found["repair"]}
    line |= {"broken": found["broken"], "skipped": found["skipped"], "progress": found["progress"]}
    line["seconds"], line["cpu"] = round(time.perf_counter() - began, 1), round(time.process_time() - cpu, 1)
    return line | {"rivals": rivals_of(program_of(subject))}


def alone(subject: Subject) -> dict[str, Any]:
    """`examine_one` in a process of its own, forked where torch is loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["selfsight.doctor.examine", "doctor_odd", "doctor_programs.hosts", "doctor_rivals"])
    # Not a Pool, whose processes may have no children: some programs load with workers. Not one executor for all with
    # max_tasks_per_child: that stands still when its processes have had their share (CPython 115634).
    with ProcessPoolExecutor(1, mp_context=context) as one:
        return one.submit(examine_one, subject).result()


def rivals_of(program: Any) -> dict[str, list[str] | None]:
    """What each rival alarms; None where it cannot be applied or raises."""
    from doctor_rivals import RIVALS, record

    try:
        trace = record(program)
    except Exception:
        return dict.fromkeys(RIVALS)
    said: dict[str, list[str] | None] = {}
    for name, judge in RIVALS.items():
        try:
            said[name] = judge(program, trace)
        except Exception:
            said[name] = None
    return said


def examined(wanted: Sequence[Subject], work: Path, jobs: int) -> list[dict[str, Any]]:
    """All lines, examining what is not in the folder yet."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "examined.jsonl"
    done = {line["key"]: line for line in lines_of(kept)}
    left = [subject for subject in wanted if subject.key not in done]
    with ThreadPoolExecutor(jobs) as pool, kept.open("a", encoding="utf-8") as file:
        for asked in as_completed([pool.submit(alone, subject) for subject in left]):
            line = asked.result()
            file.write(json.dumps(line) + "\n")
            file.flush()
            done[line["key"]] = line
            first = next((f for f in line["findings"] if f["grade"] != "NOTE"), None)
            told = f"{first['code']} {first['component']}: {first['cause']}" if first else line["broken"] or "nothing"
            print(f"{len(done):4}  {line['key']:34} {line['seconds']:6.1f} s  {told}", flush=True)
    return [done[subject.key] for subject in wanted]


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file, or none."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
