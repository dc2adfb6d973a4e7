"""The report's first sentence: what the numbers say and nothing else, whichever way they point."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from selfsight.findings import DOUBTS
from selfsight.reporting.evidence import Evidence, Records, rows_at
from selfsight.reporting.numbers import count, decimal, interval, is_share, number, score, whole

WINDOW = 50
"""Steps the final loss is a mean of, at most; a quarter of a short training."""
NAMES = {
    "trained": "trained encoder",
    "untrained": "same encoder, untrained",
    "pixels": "raw pixels",
    "hand-made": "hand-made features",
    "supervised": "supervised from scratch",
}


def verdict(evidence: Evidence) -> str:
    """One or two sentences for the top of the page."""
    said = [training_clause(evidence), *(worth_clauses(evidence))]
    sentence = "; ".join(said[:2]) + "."
    doubts = [str(one["sentence"]) for one in evidence.findings if one.get("code") in DOUBTS and one.get("sentence")]
    return " ".join([sentence, *doubts, *(clause + "." for clause in said[2:])])


def training_clause(evidence: Evidence) -> str:
    """The loss after so many steps, beside the best constant answer's."""
    steps, planned = evidence.steps, number(evidence.plan.get("steps"))
    if not steps:
        return "No step has been made yet"
    partly = planned is not None and steps < planned
    after = f"After {whole(steps)} of {whole(planned)} steps" if partly else f"After {count(steps, 'step')}"
    mean, error, broken = final_loss(evidence.losses)
    if broken is not None:
        at = evidence.series[broken].get("step", broken + 1)
        return f"{after} the loss is not a number (since step {whole(at)}): this training has failed"
    return f"{after} the loss is {decimal(mean)}{beside_constant(evidence.plan, mean, error)}"


def beside_constant(plan: dict[str, Any], mean: float, error: float) -> str:
    """How a loss of `mean` (standard error `error`) stands to the best constant answer's, as the end of a sentence."""
    constant = number(plan.get("constant"))
    if constant is None:
        return ", with no constant answer's loss to hold against it"
    written = decimal(constant)
    if plan.get("constant_is_optimal"):
        return f", which alone shows nothing (the best constant answer has {written}, the lowest there is)"
    if mean + 2 * error < constant:
        return f", below the best constant answer's {written}"
    if mean - 2 * error > constant:
        return f", above the best constant answer's {written}, so worse than saying the same to everything"
    return f", no different from the best constant answer's {written}, so nothing learned shows in it"


def final_loss(losses: list[float]) -> tuple[float, float, int | None]:
    """(mean, standard error, None) of the last steps; (NaN, NaN, place) where the loss has stopped being finite."""
    if not math.isfinite(losses[-1]):
        finite = np.flatnonzero(np.isfinite(losses))
        return np.nan, np.nan, int(finite[-1]) + 1 if len(finite) else 0
    last = np.array(losses[-max(1, min(WINDOW, len(losses) // 4)) :])
    last = last[np.isfinite(last)]
    return float(last.mean()), float(last.std() / math.sqrt(len(last))), None


def worth_clauses(evidence: Evidence) -> list[str]:
    """What the representation is worth: measured by `evaluate`, else by the running probe, else unknown."""
    for evaluation in reversed(evidence.evaluations):
        scores = rows_at(evaluation, "scores")
        lead = lead_score(scores)
        if lead is not None:
            alike = [row for row in scores if same_measure(row, lead)]
            against = [row for row in rows_at(evaluation, "comparisons") if same_measure(row, lead)]
            others = _others(alike, [row for row in against if row.get("subject") == "trained"], lead)
            return [_beside_untrained(lead, alike, against), *([others] if others else [])]
    if evidence.probes:
        return [_running(evidence.probes)]
    return ["what the representation is worth has not been measured"]


def lead_score(scores: Records) -> dict[str, Any] | None:
    """The score of the trained encoder to speak of first: kNN accuracy, else any accuracy, else what there is."""
    mine = [row for row in scores if row.get("subject") == "trained" and number(row.get("value")) is not None]

    def rank(row: dict[str, Any]) -> tuple[bool, bool]:
        return not str(row.get("probe")).lower().startswith("knn"), row.get("metric") != "accuracy"

    return min(mine, key=rank) if mine else None


def same_measure(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return (row.get("probe"), row.get("metric")) == (other.get("probe"), other.get("metric"))


def outcome(comparison: dict[str, Any]) -> str:
    """ "better", "worse" or "open": which way a comparison points, and only where it is conclusive."""
    gained = number(comparison.get("difference"))
    if comparison.get("verdict") != "conclusive" or not gained:
        return "open"
    return "better" if gained > 0 else "worse"


def _beside_untrained(lead: dict[str, Any], alike: Records, against: Records) -> str:
    metric = str(lead.get("metric", ""))
    share = is_share(metric)
    name = re.sub(r"\s*\([^)]*\)", "", str(lead.get("probe", ""))).strip()
    ends = interval(lead.get("low"), lead.get("high"), share)
    said = f"{name} {metric} {score(lead['value'], share)}{' ' + ends if ends else ''}"
    plain = next((row for row in alike if row.get("subject") == "untrained"), None)
    if plain is None:
        return f"{said}, with no untrained encoder beside it"
    said += f" beside {score(plain.get('value'), share)} untrained"
    pair = ("trained", "untrained")
    compared = next((row for row in against if (row.get("subject"), row.get("baseline")) == pair), None)
    if compared is None:
        return f"{said}, not compared image by image"
    endings = {"better": "conclusive", "worse": "conclusively worse", "open": "not yet conclusive"}
    return f"{said}: {endings[outcome(compared)]}"


def _others(alike: Records, against: Records, lead: dict[str, Any]) -> str:
    """A sentence on raw pixels and hand-made features, or "" where none was compared."""
    share = is_share(str(lead.get("metric", "")))
    told: dict[str, list[str]] = {"worse": [], "open": [], "better": []}
    for row in against:
        baseline = str(row.get("baseline"))
        own = next((other for other in alike if other.get("subject") == baseline), None)
        if baseline != "untrained" and own is not None:
            told[outcome(row)].append(f"{NAMES.get(baseline, baseline)} ({score(own.get('value'), share)})")
    verbs = {"worse": "is worse than", "open": "is not yet shown to differ from", "better": "is better than"}
    clauses = [f"{verb} {' and '.join(told[way])}" for way, verb in verbs.items() if told[way]]
    return f"It {', '.join(clauses[:-1])}{' and ' if len(clauses) > 1 else ''}{clauses[-1]}" if clauses else ""


def _running(probes: Records) -> str:
    last = next((row for row in reversed(probes) if "knn" in str(row.get("name", "")).lower()), probes[-1])
    name = str(last.get("name", "running probe"))
    share = is_share(name)
    said = f"the running probe's {name} is {score(last.get('value'), share)}"
    ends = interval(last.get("low"), last.get("high"), share)
    said += f" {ends}" if ends else ""
    plain = number(last.get("untrained"))
    return said if plain is None else f"{said} beside {score(plain, share)} untrained (not compared yet)"
