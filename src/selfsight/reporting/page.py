"""Puts a report together: one HTML file that needs nothing else, no script and no network.

The page forbids itself by its content policy to load or run anything, so that a class or file name which looks like
HTML cannot do harm even if it were not escaped.
"""

from __future__ import annotations

import re
from pathlib import Path

from selfsight.errors import UserError
from selfsight.reporting.account import again_section, facts, files_section, settings_section, time_section
from selfsight.reporting.evidence import Evidence, dict_at, read
from selfsight.reporting.gallery import map_section, neighbour_section, thumbs
from selfsight.reporting.markup import Markup, tag
from selfsight.reporting.scoretable import class_section, score_section
from selfsight.reporting.sections import (
    answers_section,
    findings_section,
    label_free_section,
    loss_section,
    probe_section,
    puzzle_section,
)
from selfsight.reporting.style import SHEET
from selfsight.reporting.verdict import verdict
from selfsight.run import Run, replacing

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CONTENTS = {
    "scores": "Scores",
    "training": "Training",
    "probe": "Probe",
    "puzzle": "Puzzle",
    "neighbours": "Neighbours",
    "map": "Map",
    "label-free": "Without labels",
    "answers": "Answers",
    "findings": "Findings",
    "classes": "Classes",
    "files": "Files",
    "settings": "Settings",
    "again": "Reproduce",
    "time": "Time",
}


def write_report(run: Run, out: Path | None = None) -> Path:
    """Writes the report of a run to `out` (default: report.html in its folder) and returns where it is.

    Reads nothing but the run's folder; whatever is missing in it is said in one line. The same folder gives the same
    bytes. Raises UserError where a file of the run is broken or `out` cannot be written.
    """
    path = run.path / "report.html" if out is None else out
    text = page(read(run))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write the report to {path}: {error.strerror}. Give another place by --out.") from error
    return path


def page(evidence: Evidence) -> str:
    """The whole page."""
    pictures = thumbs(evidence)
    sections = [
        score_section(evidence), loss_section(evidence), probe_section(evidence), puzzle_section(evidence),
        neighbour_section(evidence, pictures), map_section(evidence, pictures), label_free_section(evidence),
        answers_section(evidence), findings_section(evidence), class_section(evidence), files_section(evidence),
        settings_section(evidence), again_section(evidence), time_section(evidence),
    ]  # fmt: skip
    shown = [part for part in sections if part is not None]
    name = title(evidence)
    # pictures are embedded last: only then is it known which are shown
    style = Markup(SHEET + (pictures.style() if pictures else ""))
    head = tag(
        "head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"), tag("title", f"{name} · selfsight"),
        tag("style", style),
    )  # fmt: skip
    body = tag(
        "body",
        tag("a", "To the scores", href="#scores", class_="skip"),
        _top(evidence, name, shown),
        tag("main", shown),
        _foot(evidence),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def title(evidence: Evidence) -> str:
    """The task and the images, by the last part of their place."""
    data = re.split(r"[/\\]", evidence.data.rstrip("/\\"))[-1]
    return f"{evidence.task} on {data}" if data else evidence.task


def _top(evidence: Evidence, name: str, shown: list[Markup]) -> Markup:
    known = [tag("div", tag("dt", what), tag("dd", value)) for what, value in facts(evidence)]
    ids = [match[1] for part in shown if (match := re.match(r'<section id="([\w-]+)"', part))]
    links = [tag("a", CONTENTS[place], href=f"#{place}") for place in ids]
    priors = [dict_at(item, "prior").get("sentence") for item in evidence.evaluations[-1:]]
    care = [tag("p", str(sentence), class_="care") for sentence in priors if sentence]
    return tag(
        "header", tag("p", f"selfsight report · {evidence.path.name}", class_="kicker"), tag("h1", name),
        tag("p", verdict(evidence), class_="verdict"), care,
        tag("dl", known, class_="facts") if known else None, tag("nav", links, aria_label="Sections"),
    )  # fmt: skip


def _foot(evidence: Evidence) -> Markup:
    return tag("footer", tag("p", "All numbers were read from the files in ", tag("code", str(evidence.path)), "."))
