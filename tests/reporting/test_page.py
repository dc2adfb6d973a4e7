"""The page is whole, says what is missing, and lets nothing through that a name could do harm with."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsight.errors import UserError
from selfsight.reporting import write_report
from selfsight.reporting.evidence import read
from selfsight.reporting.markup import VOID, Markup, render, table, tag
from selfsight.reporting.page import page
from selfsight.run import Run

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


class Tree(HTMLParser):
    """Reads a page and notes what the tests ask; fails where a tag is not closed as it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def copy_of(run: Run, to: Path) -> Run:
    shutil.copytree(run.path, to)
    return Run(to)


def test_strings_are_escaped_and_markup_is_not():
    assert render(HOSTILE).count("<") == 0
    assert tag("p", "a < b", tag("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert tag("a", "x", href=HOSTILE, class_="y", aria_label="z", hidden=True, title=None).count('"') == 6
    assert (
        render("a\x00b\x1b\u202ec") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}c"
    )
    assert isinstance(render(["<", Markup("<br>")]), Markup)
    assert '<th scope="row">1</th><td>&lt;2</td>' in table(["a", "b"], [[1, "<2"]], "t")


def test_the_whole_page(whole_run):
    text = page(read(whole_run))
    tree = Tree(text)
    assert len(text) < 3_000_000
    ids = [attributes["id"] for _, attributes in tree.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in tree.all("a")]
    assert len(links) > 10
    assert all(link is not None and link.startswith("#") and link[1:] in ids for link in links)
    assert not tree.all("script", "link", "iframe", "object")
    assert all(attributes.get("alt") for attributes in tree.all("img"))
    assert all((attributes.get("src") or "").startswith("data:image/") for attributes in tree.all("img"))
    assert not re.findall(r"url\((?!data:image/)", text)
    assert "http" not in re.sub("http-equiv|base64,[A-Za-z0-9+/=]*", "", text)
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in tree.all("th"))
    assert all("aria-hidden" in attributes or attributes.get("aria-label") for attributes in tree.all("svg"))
    assert not re.findall(r"\b(nan|None|inf|NaN)\b", tree.text)


def test_the_page_says_the_numbers(whole_run):
    said = Tree(page(read(whole_run))).text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    for expected in (
        "SimCLR on photos", "61.2 %", "+15.1 points", "[11.9, 18.3]", "better, conclusive", "not yet", "1,234,567",
        "best constant answer, 6.24", "untrained, 45.5 %", "Which of 511 pictures", "41.3", "motorcycle left",
        "3 files could not be used", "not an image", "selfsight pretrain 'pictures/my photos' --out runs/a",
        "pip install selfsight==0.1.0 torch==2.14.0", "4c1d2e9", "93.0 %", "7.0 %", "timed 1.6 x as fast as fp32",
        "<script>document.title='hurt'</script>.jpg",
    ):  # fmt: skip
        assert expected in said, expected
    assert f"selfsight evaluate {whole_run.path} --data LABELLED" in said


def test_the_same_run_gives_the_same_bytes_and_goes_where_it_is_told(whole_run, tmp_path):
    first = write_report(whole_run, tmp_path / "deep" / "a.html")
    second = write_report(whole_run, tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.html", "deep"]


def test_a_place_that_cannot_be_written_is_a_sentence(bare_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write the report to"):
        write_report(bare_run, tmp_path / "file" / "report.html")


def test_a_run_without_anything_says_what_is_missing_and_how_to_get_it(bare_run):
    path = write_report(bare_run)
    assert path == bare_run.path / "report.html"
    said = Tree(path.read_text(encoding="utf-8")).text
    for verb in ("evaluate", "resume", "show --task SimCLR --data pictures/photos"):
        assert f"selfsight {verb}" in said
    assert said.count("yet") >= 6
    assert "No file was skipped" not in said


MADE = ["environment.json", "plan.json", "scores.json", "series.jsonl", "pace.jsonl", "probes.jsonl", "skipped.csv",
        "duplicates.csv", "exhibits/puzzles.png", "exhibits/puzzles.json", "exhibits/thumbs.png",
        "exhibits/exhibits.json"]  # fmt: skip


@pytest.mark.parametrize("gone", MADE)
def test_any_file_may_be_missing(whole_run, tmp_path, gone):
    run = copy_of(whole_run, tmp_path / "run")
    (run.path / gone).unlink()
    whole, lacking = Tree(page(read(whole_run))), Tree(page(read(run)))
    assert lacking.text != whole.text
    assert [attributes["id"] for attributes in lacking.all("section")] == [a["id"] for a in whole.all("section")]


def test_skipped_files_are_counted_even_where_their_list_is_lost(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    (run.path / "skipped.csv").unlink()
    assert "3 files were skipped, but skipped.csv, which lists them, is missing" in Tree(page(read(run))).text


def test_a_long_list_of_files_is_cut_and_counted(bare_run):
    rows = ["name,reason", *(f"{number:04}.jpg,truncated" for number in range(1234))]
    (bare_run.path / "skipped.csv").write_text("\n".join(rows) + "\n")
    said = Tree(page(read(bare_run))).text
    assert "1,234 files could not be used; the first 50" in said
    assert "0049.jpg" in said
    assert "0050.jpg" not in said


@pytest.mark.parametrize("broken", ["scores.json", "series.jsonl"])
def test_a_broken_file_is_named(whole_run, tmp_path, broken):
    run = copy_of(whole_run, tmp_path / "run")
    (run.path / broken).write_text('{"data": \n')
    with pytest.raises(UserError, match=f"{broken} cannot be read as JSON"):
        write_report(run)


def test_a_broken_picture_is_as_if_it_were_missing(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    for name in ("puzzles.png", "thumbs.png"):
        path = run.path / "exhibits" / name
        path.write_bytes(path.read_bytes()[:2000])
    said = Tree(page(read(run))).text
    assert "No puzzle has been drawn" in said
    assert "No map yet" in said


def hurt(value: Any) -> Any:
    """Every string in `value`, keys of rows too, made hostile; words that the formats fix are left as they are."""
    fixed = {"trained", "untrained", "pixels", "hand-made", "conclusive", "not yet"}
    if isinstance(value, dict):
        return {key: hurt(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hurt(inner) for inner in value]
    return value + HOSTILE if isinstance(value, str) and value not in fixed else value


def test_no_name_can_do_harm(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    for path in run.path.rglob("*.json"):
        path.write_text(json.dumps(hurt(json.loads(path.read_text()))))
    series = [{**row, HOSTILE: row["loss"]} for row in run.lines("series")[:50]]
    (run.path / "series.jsonl").write_text("".join(json.dumps(row) + "\n" for row in series))
    probes = [{**row, "name": row["name"] + HOSTILE} for row in run.lines("probes")]
    (run.path / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in probes))
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    (run.path / "skipped.csv").write_text(f"name,reason\n{quoted},{quoted}\n")
    run.write("findings", hurt([{"code": "S1", "grade": "PROVEN", "sentence": "It collapsed.", "cure": "More."}]))
    tree = Tree(page(read(run)))
    assert not tree.all("script")
    assert all((attributes.get("src") or "").startswith("data:") for attributes in tree.all("img"))
    assert not [name for _, attributes in tree.found for name in attributes if name.startswith("on")]
    assert tree.text.count(HOSTILE) > 80


@pytest.mark.parametrize("seed", range(30))
def test_values_of_a_wrong_kind_do_not_break_the_page(whole_run, tmp_path, seed):
    draw = np.random.default_rng(seed)
    odd = [None, "text", -1, 1e400, float("nan"), [], {}, [None], {"a": None}, True, [[1, 2, 3]], 10**9]
    run = Run(tmp_path)
    (tmp_path / "exhibits").mkdir()
    for path in whole_run.path.rglob("*.json"):
        value = json.loads(path.read_text())
        for _ in range(6):
            place = value
            while isinstance(place, dict | list) and len(place):
                key = (
                    list(place)[draw.integers(len(place))]
                    if isinstance(place, dict)
                    else int(draw.integers(len(place)))
                )
                if draw.random() < 0.35 or not isinstance(place[key], dict | list):
                    place[key] = copy.deepcopy(odd[draw.integers(len(odd))])
                    break
                place = place[key]
        (tmp_path / path.relative_to(whole_run.path)).write_text(json.dumps(value))
    for name in ("puzzles.png", "thumbs.png"):
        shutil.copy(whole_run.path / "exhibits" / name, tmp_path / "exhibits" / name)
    for name in ("series", "pace", "probes"):
        for row in whole_run.lines(name)[:20]:
            row[list(row)[draw.integers(len(row))]] = copy.deepcopy(odd[draw.integers(len(odd))])
            run.append(name, row)
    Tree(page(read(run)))


@pytest.mark.parametrize("value", [[], {}, None, "text", 3])
def test_a_file_of_another_kind_is_as_if_it_were_missing(whole_run, tmp_path, value):
    run = copy_of(whole_run, tmp_path / "run")
    for path in run.path.rglob("*.json"):
        path.write_text(json.dumps(value))
    assert "No scores yet" in Tree(page(read(run))).text


def test_classes_come_weakest_first_and_unknown_ones_last(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    found = run.json("scores")
    shares = {"middling": 0.5, "unknown": None, "weak": 0.1, "strong": 0.9}
    rows = [{"class": name, "n": 10, "pixels": 0.3, "trained": value} for name, value in shares.items()]
    found["evaluations"][0]["per_class"]["rows"] = rows
    run.write("scores", found)
    said = Tree(page(read(run))).text
    said = said[said.index("the weakest first") :]
    assert sorted(shares, key=said.index) == ["weak", "middling", "strong", "unknown"]


def test_earlier_evaluations_are_folded_away(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    found = run.json("scores")
    found["evaluations"].append({**found["evaluations"][0], "seed": 7, "notes": ["It did not converge."]})
    found["evaluations"][0]["prior"]["sentence"] = "An old trap."
    found["evaluations"][1]["prior"] = {"rows": [], "sentence": "The class prior explains a low score."}
    run.write("scores", found)
    said = Tree(page(read(run))).text
    assert said.count("An earlier evaluation, seed 0") == 1
    assert "It did not converge." in said
    assert said.count("The class prior explains a low score.") == 2
    assert "An old trap." not in said


def test_findings_are_shown_worst_first(whole_run, tmp_path):
    run = copy_of(whole_run, tmp_path / "run")
    well = {"code": "P9", "grade": "passed", "sentence": "All well."}
    run.write(
        "findings", [well, {"code": "X1", "grade": "PROVEN", "sentence": "It collapsed.", "cure": "Larger batches."}]
    )
    said = Tree(page(read(run))).text
    assert said.index("It collapsed.") < said.index("All well.")
    assert "Larger batches." in said


def test_torch_stays_out():
    code = "import sys, selfsight.reporting; sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
