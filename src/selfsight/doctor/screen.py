"""A diagnosis on the screen: the verdict, the evidence, the cure, and the cure tried."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from selfsight.check import Check, Finding, Grade
from selfsight.diagnosis import Diagnosis, Repair
from selfsight.doctor.told import TOLD, Told

STYLES = {Grade.PROVEN: "bold red", Grade.MEASURED: "bold yellow", Grade.NOTE: "dim"}
BAR = 24
"""Characters of a bar of progress."""


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Prints a diagnosis as a person reads it."""
    style = "red" if diagnosis.alarms else "yellow" if diagnosis.broken or diagnosis.doubted else "green"
    console.print(f"\n[bold {style}]{escape(diagnosis.verdict)}[/]\n")
    for finding in diagnosis.findings:
        _finding(finding, console)
    if diagnosis.repair:
        _repair(diagnosis.repair, console)
    _rest(diagnosis, console)


def _finding(finding: Finding, console: Console) -> None:
    console.print(
        f"[{STYLES[finding.grade]}]{finding.grade:<8}[/] [bold]{finding.code}[/] {finding.component}: {finding.cause}"
    )
    lines = [escape(finding.sentence)]
    if str(finding.place):
        lines.append(f"[cyan]at[/] {escape(str(finding.place))}")
    numbers = ", ".join(f"{name} {_said(value)}" for name, value in finding.evidence.items() if _short(value))
    if numbers and finding.alarms:
        lines.append(f"[cyan]evidence[/] {escape(numbers)}")
    lines.append(f"[cyan]cure[/] {escape(finding.cure)}\n")
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 9)))


def _short(value: object) -> bool:
    return not isinstance(value, list) and (not isinstance(value, str) or len(value) < 60)


def _said(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _repair(repair: Repair, console: Console) -> None:
    console.print(f"[bold]The cure tried[/]: the {repair.component} swapped out for {escape(repair.swapped)}.")
    if not math.isfinite(repair.after):
        console.print(f"  ({repair.said}; there is no scale to compare progress on)\n")
        return
    for name, value in (("before", repair.before), ("after", repair.after)):
        console.print(f"  {name:<7}{_bar(value)} {f'{value:.2f}' if math.isfinite(value) else 'no scale'}")
    console.print(f"  (progress on {repair.on}, 0 = best constant answer, 1 = best of all; {repair.said})\n")


def _bar(value: float) -> str:
    filled = 0 if not math.isfinite(value) else round(BAR * min(1.0, max(0.0, value)))
    return "█" * filled + "·" * (BAR - filled)


def _rest(diagnosis: Diagnosis, console: Console) -> None:
    if diagnosis.broken and diagnosis.alarms:
        console.print(f"It could not be run through: {escape(diagnosis.broken)}")
    if diagnosis.printed:
        console.print(f"[dim]What it printed ({diagnosis.printed} times) is not shown.[/]")
    console.print(f"[dim]found nothing: {' '.join(diagnosis.passed) or 'none'}[/]")
    for label, codes in (("does not apply", diagnosis.not_applicable), ("not asked", diagnosis.skipped)):
        for code, why in codes.items():
            console.print(f"[dim]{label}: {code}, {escape(why)}[/]")
    console.print(f"[dim]{diagnosis.seconds:.0f} s. `selfsight doctor --explain CODE` tells more of a check.[/]")


def listing(console: Console) -> None:
    """Prints every check, and what runs say of themselves."""
    from selfsight.checks import CHECKS

    for check in sorted(CHECKS, key=lambda check: check.code):
        needs = f" [dim](needs {', '.join(check.needs)})[/]" if check.needs else ""
        console.print(f"[bold]{check.code}[/] {escape(check.title)}{needs}{'' if check.quick else ' [dim](trains)[/]'}")
    for told in TOLD:
        console.print(f"[bold]{told.code}[/] {escape(told.title)} [dim](what a run that has ended says of itself)[/]")


def explanation(code: str, console: Console) -> None:
    """Prints what there is to know of one check. Raises UserError for a code that is none."""
    from selfsight.checks import CHECKS
    from selfsight.errors import UserError, nearest

    known: dict[str, Check | Told] = {check.code: check for check in CHECKS} | {told.code: told for told in TOLD}
    if code.upper() not in known:
        raise UserError(f"There is no check {code}{nearest(code, known)}. `selfsight doctor --list` names them all.")
    check = known[code.upper()]
    console.print(f"[bold]{check.code}  {escape(check.title)}[/]\n")
    heads = {"": "", "Detected": "How it is detected", "Matters": "Why it matters", "Cure": "How to cure it"}
    for name, text in check.explained().items():
        head = heads.get(name, "What it cannot see")
        console.print((f"[bold]{head}.[/] " if head else "") + escape(text) + "\n")
