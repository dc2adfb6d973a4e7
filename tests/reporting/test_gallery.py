"""Pictures are cut out of the right place, and the map covers none."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from selfsight.exhibits import _map
from selfsight.reporting.evidence import read
from selfsight.reporting.gallery import (
    BORDER,
    COLUMNS,
    LARGE,
    SIDE,
    SMALL,
    map_section,
    neighbour_section,
    spread,
    thumbs,
)
from selfsight.run import Run


def sheet_in(style: str) -> np.ndarray:
    found = re.search(r"url\(data:image/jpeg;base64,([^)]*)\)", style)
    assert found is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB")).astype(int)


def test_the_sheet_holds_what_is_shown_and_nothing_else(whole_run):
    pictures = thumbs(read(whole_run))
    assert pictures is not None
    assert pictures.style() == ""
    shown = [217, 3, 299, *range(30, 60), 3]
    places = [re.search(r"--x:(\d+);--y:(\d+)", pictures.show(i)) for i in shown]
    assert len(pictures.places) == 33
    sheet, cell = sheet_in(pictures.style()), SIDE + 2 * BORDER
    assert sheet.shape == (2 * cell, COLUMNS * cell, 3)
    original = np.asarray(Image.open(whole_run.path / "exhibits" / "thumbs.png").convert("RGB")).astype(int)
    for i, place in zip(shown, places, strict=True):
        assert place is not None
        left, top = int(place[1]) * cell + BORDER, int(place[2]) * cell + BORDER
        own = original[i // 20 * 48 : i // 20 * 48 + 48, i % 20 * 48 : i % 20 * 48 + 48]
        assert np.abs(sheet[top : top + SIDE, left : left + SIDE] - own).mean() < 8
        other = (i + 150) % 300
        far = original[other // 20 * 48 : other // 20 * 48 + 48, other % 20 * 48 : other % 20 * 48 + 48]
        assert np.abs(sheet[top : top + SIDE, left : left + SIDE] - far).mean() > 16
        edge = sheet[top : top + SIDE, left - BORDER : left] - sheet[top : top + SIDE, left : left + 1]
        assert np.abs(edge).mean() < 12


def test_neighbours_are_tallied_among_labelled_images(whole_run, tmp_path):
    evidence = read(whole_run)
    labels, rows = evidence.exhibits["labels"], evidence.exhibits["neighbours"]
    for who, ending in (("trained", "with the trained encoder"), ("untrained", "untrained")):
        near = [(row["query"], j) for row in rows for j in row[who]]
        same = sum(labels[i] == labels[j] for i, j in near)
        assert f"{same} of {len(near)} " in str(neighbour_section(evidence, thumbs(evidence))), ending
    shutil.copytree(whole_run.path, tmp_path / "run")
    value = {**evidence.exhibits, "labels": ["one", *[None] * (len(labels) - 2), "one"]}
    value["neighbours"] = [{"query": 0, "trained": [1, 2, len(labels) - 1], "untrained": [4, 9999, -1, "x"]}]
    (tmp_path / "run" / "exhibits" / "exhibits.json").write_text(json.dumps(value))
    evidence = read(Run(tmp_path / "run"))
    said = neighbour_section(evidence, thumbs(evidence))
    assert "1 of 1 labelled neighbours" in said
    assert said.count('class="thumb') == 1 + 3 + 1
    assert said.count("same class") == 2  # in the sentence, and aloud at the one image


@pytest.mark.parametrize("box", [LARGE, SMALL])
@pytest.mark.parametrize("seed", range(3))
def test_no_picture_covers_another(box, seed):
    places = np.random.default_rng(seed).beta(0.5, 0.5, (500, 2))
    shown = spread(places, range(500), box)
    corner = places[shown] * (np.array(box[:2]) - box[2])
    apart = np.abs(corner[:, None] - corner[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= box[2]
    left = sorted(set(range(500)) - set(shown))
    all_corners = places * (np.array(box[:2]) - box[2])
    near = np.abs(all_corners[left][:, None] - corner[None]).max(axis=2).min(axis=1)
    assert near.max() < box[2]  # each that is left out would have covered one


def test_what_a_telephone_shows_a_screen_shows_too():
    places = np.random.default_rng(0).random((400, 2))
    few = spread(places, range(400), SMALL)
    many = spread(places, range(400), LARGE, first=few)
    assert many[: len(few)] == few
    assert len(many) > len(few)


def test_the_map_places_images_where_they_are(whole_run):
    evidence = read(whole_run)
    drawn = map_section(evidence, thumbs(evidence))
    xy, names = evidence.exhibits["map"]["xy"], evidence.exhibits["names"]
    found = re.findall(r'aria-label="([^" ]+) \([^"]*"[^>]*--px:([\d.]+);--py:([\d.]+)', drawn)
    assert len(found) > 30
    for name, x, y in found:
        assert xy[names.index(name)] == pytest.approx([float(x), float(y)], abs=6e-4)
    behind = re.search(r'd="([^"]*)" class="dots"', drawn)
    assert behind is not None
    first = re.match(r"M([\d.]+) ([\d.]+)h0", behind[1])
    assert first is not None
    assert [float(first[1]), float(first[2])] == pytest.approx([1000 * xy[0][0], 1000 * xy[0][1]], abs=0.11)


def test_thumbnails_that_do_not_fit_their_list_are_not_shown(whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "run")
    path = tmp_path / "run" / "exhibits" / "exhibits.json"
    value = json.loads(path.read_text())
    for wrong in ({"names": value["names"] * 2}, {"thumb": 96}, {"columns": 40}, {"names": []}, {"thumb": 0}):
        path.write_text(json.dumps({**value, **wrong}))
        assert thumbs(read(Run(tmp_path / "run"))) is None, wrong


def test_a_collapsed_network_has_a_map_all_the_same() -> None:
    found = _map(np.zeros((40, 8), np.float32), 0)
    assert found["method"].startswith("none")
    assert found["xy"] == [[0.5, 0.5]] * 40
