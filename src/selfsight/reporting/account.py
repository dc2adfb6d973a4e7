"""The rest a reader needs to believe a run and repeat it: what was left out, settings, machine, commands, time."""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Any

from selfsight.reporting.charts import Line, line_chart, smoothed, thinned
from selfsight.reporting.evidence import Evidence, column, dict_at
from selfsight.reporting.markup import Markup, Node, table, tag
from selfsight.reporting.numbers import count, decimal, duration, number, percent, whole
from selfsight.reporting.sections import missing, section

LISTED = 50
"""Files listed by name."""
OPEN = 12
"""A list of more is folded away."""


def files_section(evidence: Evidence) -> Markup:
    """What could not be read, and what was there twice."""
    content = [_skipped(evidence), _duplicates(evidence)]
    if evidence.skipped is None and not evidence.plan:
        content = [missing("The images have not been looked at yet", evidence.command("resume"))]
    return section("files", "Files left out and duplicates", content)


def _skipped(evidence: Evidence) -> Node:
    rows = evidence.skipped
    if not rows:
        return missing(
            _unlisted(evidence, "skipped", "file was skipped", "files were skipped") or "No file was skipped"
        )
    cells = [[row[0], ", ".join(row[1:])] for row in rows[:LISTED]]
    return _listed(f"{count(len(rows), 'file')} could not be used", ["file", "reason"], cells, len(rows))


def _duplicates(evidence: Evidence) -> Node:
    if not evidence.duplicates or len(evidence.duplicates) < 2:
        told = _unlisted(evidence, "duplicates", "image was found twice", "images were found twice")
        return missing(told or "No image was found twice")
    head, *rows = evidence.duplicates
    cells = [[*row, *[""] * (len(head) - len(row))][: len(head)] for row in rows[:LISTED]]
    said = f"{count(len(rows), 'file holds', 'files hold')} an image that is there more than once"
    return _listed(said, head, cells, len(rows))


def _listed(said: str, head: list[str], cells: list[list[str]], length: int) -> Node:
    """A list of files below a sentence, folded away where it is long."""
    shown = table(head, cells, said, "files")
    if length <= OPEN:
        return [tag("p", said + "."), shown]
    return tag("details", tag("summary", f"{said}{f'; the first {LISTED}' if length > LISTED else ''}"), shown)


def _unlisted(evidence: Evidence, name: str, one: str, many: str) -> str:
    """A sentence where the plan counts files of which the list is gone, else ""."""
    found = number(evidence.plan.get(name)) if getattr(evidence, name) is None else None
    return f"{count(int(found), one, many)}, but {name}.csv, which lists them, is missing" if found else ""


def time_section(evidence: Evidence) -> Markup:
    """Images a second, and how much of the time was spent waiting for data."""
    seconds, waiting, images = (column(evidence.pace, key) for key in ("seconds", "waiting", "images"))
    total, idle = _sum(seconds), _sum(waiting)
    if total <= 0:
        told = missing("No pace has been written down yet", evidence.command("resume"))
        return section("time", "Where the time goes", told)
    share = min(max(idle / total, 0.0), 1.0)
    facts = [
        ("images a second", decimal(_sum(images) / total)),
        ("waiting for data", percent(share)),
        ("in steps, altogether", duration(total)),
        ("a step", duration(total / len(evidence.pace))),
    ]
    strip = tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts], class_="facts")
    bar = tag(
        "div",
        tag("i", style=f"width:{1 - share:.2%}"),
        class_="split",
        role="img",
        aria_label=f"{percent(1 - share)} computing, {percent(share)} waiting for data",
    )
    key = tag(
        "p",
        tag("span", tag("i", class_="key area trained"), f"computing {percent(1 - share)}"),
        tag("span", tag("i", class_="key area idle"), f"waiting for data {percent(share)}"),
        class_="keys",
    )
    rates = [n / s if s > 0 else math.nan for n, s in zip(images, seconds, strict=True)]
    return section("time", "Where the time goes", strip, bar, key, _speed(column(evidence.pace, "step"), rates))


def _speed(steps: list[float], rates: list[float]) -> Node:
    if len(rates) < 3 or not any(math.isfinite(rate) for rate in rates):
        return None
    window = max(1, round(len(rates) / 50))
    points = thinned(list(zip(steps, smoothed(rates, window).tolist(), strict=True)), 200)
    floor = Line("", [(steps[0], 0.0)], "constant")  # so that the axis begins at zero
    known = [rate for _, rate in points if math.isfinite(rate)]
    alt = f"Images a second, between {decimal(min(known))} and {decimal(max(known))}."
    return line_chart([Line("images a second", points, "trained"), floor], alt=alt, small=True)


def _sum(values: list[float]) -> float:
    return sum(value for value in values if math.isfinite(value))


def settings_section(evidence: Evidence) -> Markup:
    """The recipe, what was settled at the start, and the machine."""
    content: list[Node] = []
    parts = [
        ("As asked", evidence.recipe),
        ("Settled at the start", evidence.plan),
        ("Machine", dict_at(evidence.environment, "machine")),
        ("Versions", dict_at(evidence.environment, "versions")),
    ]
    for title, values in parts:
        if values:
            content.append(tag("h3", title))
            content.append(table(["setting", "value"], [[key, text] for key, text in flat(values)], title, "settings"))
    if not evidence.environment:
        content.append(missing("environment.json is not in the run, so the machine and the versions are not known"))
    summary = tag("summary", "All settings, versions and the machine")
    return section("settings", "Settings and machine", tag("details", summary, content))


def flat(value: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as (dotted key, text); `class_path` and `init_args` are told as the class and its fields."""
    rows: list[tuple[str, str]] = []
    for key, inner in value.items():
        name = before + str(key)
        if isinstance(inner, dict) and "class_path" in inner:
            rows.append((name, str(inner["class_path"])))
            rows += flat(dict_at(inner, "init_args"), name + ".")
        elif isinstance(inner, dict):
            rows += flat(inner, name + ".")
        else:
            rows.append((name, _text(inner)))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def again_section(evidence: Evidence) -> Markup:
    """The exact commands that repeat the run."""
    versions = dict_at(evidence.environment, "versions")
    found = {name: str(version).partition("+")[0] for name, version in versions.items() if _installable(name, version)}
    pins = [f"{name}=={version}" for name, version in found.items()]
    command = evidence.environment.get("command")
    commands: list[tuple[str, str]] = []
    if pins:
        python = f" (Python {versions['python']})" if versions.get("python") else ""
        commands.append((f"The same versions{python}", "pip install " + shlex.join(pins)))
    if isinstance(command, list) and command:
        commands.append(("As it was started", shlex.join(str(word) for word in command)))
    recipe, copy = shlex.quote(str(evidence.path / "recipe.json")), shlex.quote(f"{evidence.path}-again")
    commands.append(("The same recipe anew", f"selfsight pretrain --config {recipe} --out {copy}"))
    planned = number(evidence.plan.get("steps"))
    if planned is not None and evidence.steps < planned:
        commands.append(("To its planned end", evidence.command("resume")))
    commands.append(("What it is worth", evidence.command("evaluate", "--data LABELLED")))
    commands.append(("This page", evidence.command("report")))
    shown = [
        tag("div", tag("dt", what), tag("dd", tag("pre", tag("code", line), tabindex=0))) for what, line in commands
    ]
    return section("again", "How to reproduce", tag("dl", shown, class_="commands"), _origin(evidence.environment))


def _origin(environment: dict[str, Any]) -> Node:
    git, started = environment.get("git"), environment.get("started")
    said = [f"Git commit {git}." if git else "", f"Started {str(started).replace('T', ' ')}." if started else ""]
    same = "On a CPU in fp32 the same recipe, images and versions give the same numbers."
    return tag("p", " ".join([*(part for part in said if part), same]), class_="note")


def _installable(name: str, version: Any) -> bool:
    named = re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None and name != "python"
    return named and re.fullmatch(r"\d[\w.+!-]*", str(version)) is not None


def facts(evidence: Evidence) -> list[tuple[str, str]]:
    """The few facts at the top of the page: (name, value)."""
    plan, machine = evidence.plan, dict_at(evidence.environment, "machine")
    size, channels = number(plan.get("size")), number(plan.get("channels"))
    started = str(evidence.environment.get("started") or "")
    total = _sum(column(evidence.pace, "seconds"))
    features = [f"{whole(plan['dim'])} features"] if number(plan.get("dim")) else []
    known = [
        ("images", whole(plan["images"]) if number(plan.get("images")) else ""),
        ("size", f"{whole(size)} px, {'gray' if channels == 1 else 'colour'}" if size else ""),
        ("encoder", ", ".join([str(plan["encoder"]), *features]) if plan.get("encoder") else ""),
        ("parameters", whole(plan["parameters"]) if number(plan.get("parameters")) else ""),
        ("trained for", duration(total) if total else ""),
        ("on", str(machine.get("device") or machine.get("processor") or "")),
        ("started", started[:16].replace("T", " ")),
    ]
    return [(name, value) for name, value in known if value]
