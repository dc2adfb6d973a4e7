"""What went on in the training: loss, running probe, the drawn puzzle, label-free quality, findings."""

from __future__ import annotations

import base64
import io
import math
import shlex
from pathlib import Path

from PIL import Image

from selfsight.reporting.charts import Band, Line, line_chart, smoothed, thinned
from selfsight.reporting.evidence import Evidence, Records, column, rows_at, texts_at
from selfsight.reporting.markup import Markup, Node, scrolling, table, tag
from selfsight.reporting.numbers import decimal, interval, is_share, number, percent, score, whole

MEASURES = 6
"""Small charts of a task's own measures, at most."""
PUZZLE_BYTES = 900_000
"""A drawn puzzle larger than this is embedded as JPEG."""


def section(name: str, title: str, *content: Node) -> Markup:
    """One section of the page; `name` is its place in the address."""
    return tag("section", tag("h2", title, id=f"{name}-title"), content, id=name, aria_labelledby=f"{name}-title")


def missing(text: str, command: str | None = None) -> Markup:
    """One line that says what is not there, and the command that makes it."""
    return tag("p", text, [": ", tag("code", command)] if command else None, "" if command else ".", class_="missing")


def loss_section(evidence: Evidence) -> Markup:
    """The loss of every step, smoothed and raw, beside the best constant answer's."""
    losses = evidence.losses
    if not losses:
        return section("training", "Training", missing("No step has been written down yet", evidence.command("resume")))
    if not any(math.isfinite(loss) for loss in losses):
        return section("training", "Training", missing("No loss is a finite number, so nothing can be drawn"))
    steps = column(evidence.series, "step")
    window = max(1, round(len(losses) / 50))
    raw = thinned(list(zip(steps, losses, strict=True)))
    apart = whole(2 * len(losses) / len(raw))
    every = "each step" if len(raw) == len(losses) else f"lowest and highest of {apart} steps"
    mean = thinned(list(zip(steps, smoothed(losses, window).tolist(), strict=True)))
    lines = [Line(every, raw, "raw")] if window > 1 else [Line("loss of each step", raw, "trained")]
    if window > 1:
        lines.append(Line(f"loss, mean of {window} steps", mean, "trained"))
    constant = number(evidence.plan.get("constant"))
    if constant is not None:
        ends = [(steps[0], constant), (steps[-1], constant)]
        lines.append(Line(f"best constant answer, {decimal(constant)}", ends, "constant"))
    alt = f"Loss from {decimal(_first(losses))} to {decimal(_first(losses[::-1]))} in {whole(evidence.steps)} steps"
    alt += f"; a constant answer has {decimal(constant)}." if constant is not None else "."
    note = str(evidence.plan.get("constant_note") or "")
    explained = [tag("b", "The best constant answer"), " is what a network gets that says the same to every image"]
    told = tag("p", explained, f" ({note})." if note else ".", class_="note") if constant is not None or note else None
    return section("training", "Training", line_chart(lines, alt=alt), told, _measures(evidence.series))


def _first(values: list[float]) -> float | None:
    return next((value for value in values if math.isfinite(value)), None)


def _measures(series: Records) -> Node:
    names = list(dict.fromkeys(key for row in series for key in row if key not in ("step", "loss")))
    steps = column(series, "step")
    charts: list[Markup] = []
    for name in names:
        values = column(series, name)
        if len(charts) == MEASURES or not any(math.isfinite(value) for value in values):
            continue
        window = max(1, round(len(values) / 50))
        points = thinned(list(zip(steps, smoothed(values, window).tolist(), strict=True)), 150)
        alt = f"{name} goes from {decimal(_first(values))} to {decimal(_first(values[::-1]))}."
        charts.append(line_chart([Line(name, points, "trained")], alt=alt, small=True, share=is_share(name)))
    return [tag("h3", "What the task measured on the way"), tag("div", charts, class_="smalls")] if charts else None


def probe_section(evidence: Evidence) -> Markup:
    """The running probe of the encoder in training, beside the same encoder untrained."""
    names = list(dict.fromkeys(str(row.get("name", "probe")) for row in evidence.probes))
    charts = [chart for chart in (_probe_chart(name, evidence.probes) for name in names) if chart is not None]
    if not charts:
        text = "No running probe has spoken yet; it does so now and then while training goes on"
        return section("probe", "Running probe", missing(text, evidence.command("resume")))
    note = tag("p", "Measured on few images while training went on, to see where it is heading.", class_="note")
    return section("probe", "Running probe", charts, note)


def _probe_chart(name: str, probes: Records) -> Markup | None:
    rows = [row for row in probes if str(row.get("name", "probe")) == name and number(row.get("value")) is not None]
    if not rows:
        return None
    steps, values = column(rows, "step"), column(rows, "value")
    share = is_share(name)
    lines = [Line(name, list(zip(steps, values, strict=True)), "trained", dots=len(rows) <= 60)]
    plain = [point for point in zip(steps, column(rows, "untrained"), strict=True) if math.isfinite(point[1])]
    if plain:
        ends = plain if len(plain) > 1 else [(plain[0][0] - 0.5, plain[0][1]), (plain[0][0] + 0.5, plain[0][1])]
        lines.append(Line(f"untrained, {score(plain[-1][1], share)}", ends, "untrained"))
    spread = list(zip(steps, column(rows, "low"), column(rows, "high"), strict=True))
    bands = [Band("95 % interval", spread)] if any(math.isfinite(low + high) for _, low, high in spread) else []
    ends_text = interval(rows[-1].get("low"), rows[-1].get("high"), share)
    alt = f"{name} ends at {score(values[-1], share)} {ends_text}".strip()
    alt += f", untrained {score(plain[-1][1], share)}." if plain else "."
    return line_chart(lines, alt=alt, bands=bands, share=share)


def puzzle_section(evidence: Evidence) -> Markup:
    """What the network was asked, drawn."""
    title = "What the network is asked"
    source = picture(evidence.path / "exhibits" / "puzzles.png")
    asked = evidence.puzzles.get("sentence") or evidence.plan.get("question")
    told = tag("p", str(asked)) if asked else None
    captions = texts_at(evidence.puzzles, "captions")
    if source is None:
        data = evidence.data or "PHOTOS"
        command = shlex.join(["selfsight", "show", "--task", evidence.task, "--data", data])
        return section("puzzle", title, told, missing("No puzzle has been drawn", command))
    alt = f"Examples as the network sees them. {asked or ''} {'; '.join(captions[:12])}".strip()
    uri, (width, height) = source
    drawn = tag("img", src=uri, alt=alt, width=width, height=height)
    return section("puzzle", title, told, tag("div", scrolling(drawn, title), class_="drawn"))


def picture(path: Path, limit: int = PUZZLE_BYTES) -> tuple[str, tuple[int, int]] | None:
    """The picture in `path` as a data address, and its (width, height); None where it is missing or broken."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size, kind = image.size, str(image.format).lower()
            if len(content) > limit or kind not in ("png", "jpeg", "webp"):
                image.thumbnail((1600, 2400))
                size, kind, content = image.size, "jpeg", jpeg(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return data_address(content, kind), size


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """The picture as JPEG without loss of colour resolution, which text and small pictures would show."""
    written = io.BytesIO()
    image.convert("RGB").save(written, "JPEG", quality=quality, subsampling=0, optimize=True)
    return written.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """A picture's bytes as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def label_free_section(evidence: Evidence) -> Markup:
    """Quality without labels, beside the untrained encoder's."""
    rows = rows_at(evidence.scores, "label_free")
    if not rows:
        return section(
            "label-free",
            "Without labels",
            missing("Not measured yet; it is when training ends", evidence.command("resume")),
        )
    cells = []
    for row in rows:
        name = str(row.get("name", ""))
        write = percent if is_share(name) else decimal
        numbers = [tag("td", write(row.get(who)), class_="number") for who in ("trained", "untrained")]
        cells.append([name, *numbers, tag("td", str(row.get("meaning") or ""), class_="prose")])
    shown = table(["measure", *_right("trained", "untrained"), "what it means"], cells, "Quality without labels")
    return section("label-free", "Without labels", shown)


def answers_section(evidence: Evidence) -> Markup | None:
    """What the task itself says of its trained model; None of most tasks."""
    rows = rows_at(evidence.scores, "answers")
    if not rows:
        return None
    cells = [
        [str(row.get("name", "")), *(tag("td", decimal(row.get(who)), class_="number") for who in ("train", "val"))]
        for row in rows
    ]
    shown = table(["measure", *_right("learned from", "validation")], cells, "Answers")
    note = "Distances are in units of that of what was left: 1 is to do nothing."
    return section("answers", "Answers", shown, tag("p", note, class_="note"))


def findings_section(evidence: Evidence) -> Markup | None:
    """What the doctor found, worst first; None where nobody asked."""
    if not evidence.findings:
        return None
    order = {"PROVEN": 0, "MEASURED": 1, "NOTE": 2}
    ranked = sorted(evidence.findings, key=lambda finding: order.get(str(finding.get("grade")), 2))
    items = []
    for finding in ranked:
        grade = str(finding.get("grade", ""))
        cure = finding.get("cure")
        items.append(
            tag(
                "li",
                tag("span", grade, class_=f"chip {'worse' if grade in ('PROVEN', 'MEASURED') else 'open'}"),
                " ",
                tag("code", str(finding.get("code", ""))),
                " ",
                str(finding.get("sentence", "")),
                tag("p", str(cure), class_="note") if cure else None,
            )
        )
    return section("findings", "Findings", tag("ul", items, class_="findings"))


def _right(*names: str) -> list[Markup]:
    return [tag("th", name, scope="col", class_="number") for name in names]
