"""The handbook of checks: what `docs/checks.md` holds, made from the checks themselves."""

from __future__ import annotations

from selfsight.check import Check
from selfsight.checks import CHECKS
from selfsight.doctor.told import TOLD, Told

KINDS = {
    "D": "Data", "Y": "Labels", "M": "Model", "L": "Loss", "O": "Optimizer", "T": "Training loop",
    "E": "Momentum twin", "R": "Representation", "B": "Behaviour",
}  # fmt: skip
HEADS = {
    "Detected": "How it is detected", "Matters": "Why it matters", "Cure": "How to cure it",
    "Blind": "What it cannot see",
}  # fmt: skip
OPENING = """# The doctor's checks

One section for each code. `selfsight doctor --explain CODE` prints the same text; this page is made from the checks
themselves. PROVEN findings are exact counter-examples, MEASURED ones have p < 1e-3 or a swap that restored learning,
NOTES are never alarms.
"""

RUNS = """## What a run says of itself

Notes that a training writes when it ends, from its own numbers (`findings.json`, the report). `selfsight doctor RUN`
repeats them, and says in its verdict where a restorer or a policy is not to be relied on.
"""


def handbook() -> str:
    """The page, as Markdown."""
    parts = [OPENING]
    kind = ""
    for check in CHECKS:
        if check.code[0] != kind:
            kind = check.code[0]
            parts.append(f"## {KINDS[kind]}\n")
        parts.append(_section(check))
    parts += [RUNS, *(_section(told) for told in TOLD)]
    return "\n".join(parts)


def _section(check: Check | Told) -> str:
    lines = [f"### {check.code}: {check.title}", ""]
    for name, text in check.explained().items():
        lines += [f"**{HEADS[name]}.** {text}" if name else text, ""]
    if isinstance(check, Told):
        return "\n".join(lines)
    needs = f"Needs `{'`, `'.join(check.needs)}`. " if check.needs else ""
    trains = "Asked before a training too." if check.quick else "Trains for some seconds."
    return "\n".join([*lines, f"*{needs}{trains}*", ""])
