"""What a run's own numbers already say against it, without looking any further.

Kept in findings.json: each with a code, a grade (NOTE: worth knowing, no alarm), one sentence and a cure. Torch-free.
"""

from __future__ import annotations

from typing import Any

from selfsight.run import Run

LATE = 20
"""Steps at the end that the loss is averaged over."""


def plain_findings(run: Run, across: int) -> list[dict[str, Any]]:
    """Findings of a run that has ended. across: groups of equal images that lie in different splits."""
    found = [_constant_answer(run), _no_better(run), _shared(across)]
    return [finding for finding in found if finding]


def _constant_answer(run: Run) -> dict[str, Any] | None:
    """The loss has not come below that of the best constant answer."""
    plan, losses = run.json("plan"), [line["loss"] for line in run.lines("series")][-LATE:]
    if not losses or plan.get("constant_is_optimal"):
        return None
    late = sum(losses) / len(losses)
    if late < plan["constant"]:
        return None
    constant = f"the best constant answer's {plan['constant']:.3f}"
    sentence = f"The loss of the last {len(losses)} steps is {late:.3f}, not below {constant}."
    cure = "Train longer; if it stays there, look at `selfsight show`: can these pictures answer the question?"
    return _finding("L001", sentence + " So far the network answers the same to every image, or worse.", cure)


def _no_better(run: Run) -> dict[str, Any] | None:
    """The running probe's interval does not lie above the untrained encoder's value."""
    last = [line for line in run.lines("probes") if line["name"] == "kNN accuracy"][-1:]
    if not last or last[0]["untrained"] is None or last[0]["low"] > last[0]["untrained"]:
        return None
    value, low, high, before = (last[0][key] for key in ("value", "low", "high", "untrained"))
    said = f"{value:.1%} [{low:.1%}, {high:.1%}]"
    sentence = f"The running kNN accuracy, {said}, is not conclusively above the untrained encoder's {before:.1%}."
    return _finding("R001", sentence, "Train longer, or choose views that keep what tells your classes apart.")


def _shared(across: int) -> dict[str, Any] | None:
    """The same picture is learned from and asked about."""
    if not across:
        return None
    sentence = (
        f"{across} images are there in more than one split, byte for byte: scores on val are too good by as much."
    )
    return _finding("D001", sentence, "Remove them from one of the splits; duplicates.csv names them.")


def _finding(code: str, sentence: str, cure: str) -> dict[str, Any]:
    return {"code": code, "grade": "NOTE", "sentence": sentence, "cure": cure}
