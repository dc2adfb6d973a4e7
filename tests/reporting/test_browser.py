"""What a browser makes of the page: Chromium without a window, and no library to drive it.

A page of the test's own holds the report in a frame and measures in there, so that the report itself is not changed.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfsight.reporting import write_report
from selfsight.run import Run

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium, chromium-browser or google-chrome here"),
]
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--v=0",
]

MEASURE = """
<!doctype html><meta charset="utf-8">
<body><iframe id="frame" style="border:0;width:WIDTHpx;height:900px"></iframe>
<pre id="out"></pre>
<script>
const frame = document.getElementById("frame");
const all = (page, what) => [...page.querySelectorAll(what)];
const box = element => element.getBoundingClientRect();
const cover = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > .6
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > .6;
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow, found = {};
  const style = (element, part) => view.getComputedStyle(element, part);
  const url = style(page.querySelector(".thumb") ?? page.body).backgroundImage.slice(5, -2);
  found.images = [...page.images].map(image => image.complete && image.naturalWidth);
  found.width = view.innerWidth;
  found.scroll = page.documentElement.scrollWidth;
  found.outside = all(page, "body *")
    .filter(element => !element.closest(".scroll, pre, .skip") && box(element).right > view.innerWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 120));
  found.background = style(page.body).backgroundColor;
  found.text = style(page.body).color;
  const words = all(page, "main *").filter(element => element.children.length === 0 && element.textContent.trim());
  found.small = Math.min(...words.map(element => parseFloat(style(element).fontSize)));
  const ticks = all(page, ".plot").flatMap(plot => [".xtick", ".ytick"].map(
    kind => all(plot, kind).map(box).filter(tick => tick.width)));
  found.crowded = ticks.filter(row => row.some((a, i) => row.some((b, j) => i < j && cover(a, b)))).length;
  const thumbs = all(page, ".map .thumb").filter(element => box(element).width), boxes = thumbs.map(box);
  found.shown = boxes.length;
  found.covered = boxes.filter((a, i) => boxes.some((b, j) => i < j && cover(a, b))).length;
  if (thumbs.length) {
    thumbs[0].focus();
    found.enlarged = box(thumbs[0]).width;
    found.called = style(thumbs[0], "::after").content;
    found.name = thumbs[0].dataset.name;
  }
  const tell = () => { document.getElementById("out").textContent = JSON.stringify(found); };
  if (!url.startsWith("data:")) return tell();
  const sheet = new Image();  // put into this page, whose end of loading it then delays until it is there
  sheet.onload = () => { found.sheet = sheet.naturalWidth; tell(); };
  sheet.src = url;
  document.body.append(sheet);
};
frame.src = "ADDRESS";
</script>
"""


def chromium(profile: Path, *arguments: str) -> tuple[str, str]:
    """(standard output, standard error) of one start, with a profile of its own."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, done.stderr


def complaints(log: str) -> list[str]:
    """What the page's console said."""
    return [line for line in log.splitlines() if "CONSOLE" in line]


def measured(report: Path, folder: Path, width: int, *arguments: str) -> dict[str, Any]:
    around = folder / "around.html"
    around.write_text(MEASURE.replace("WIDTH", str(width)).replace("ADDRESS", report.as_uri()), encoding="utf-8")
    told, log = chromium(folder / "profile", *arguments, "--dump-dom", around.as_uri())
    assert complaints(log) == []
    found = re.search(r'<pre id="out">(.+?)</pre>', told, re.DOTALL)
    assert found is not None, log
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def report(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(whole_run, tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture(scope="module")
def on_a_telephone(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(report, tmp_path_factory.mktemp("telephone"), 360)


@pytest.fixture(scope="module")
def on_a_dark_screen(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(report, tmp_path_factory.mktemp("screen"), 1200, "--force-dark-mode")


def brightness(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", as WCAG 2.2 defines it."""
    values = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_console_stays_silent_and_the_page_is_drawn(report, tmp_path):
    picture = tmp_path / "page.png"
    _, log = chromium(tmp_path / "profile", f"--screenshot={picture}", "--window-size=1100,2400", report.as_uri())
    assert complaints(log) == []
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[:2] == (2400, 1100)
    blue = (pixels[:, :, 2] - pixels[:, :, 0] > 90).sum()
    assert blue > 1000  # curves, dots and links of the one accent colour


def test_a_console_complaint_would_be_seen(report, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text(encoding="utf-8").replace("<main>", '<main><img src="away.png" alt="">', 1))
    _, log = chromium(tmp_path / "profile", "--dump-dom", broken.as_uri())
    assert complaints(log)


def test_pictures_are_there(on_a_telephone, on_a_dark_screen):
    for found in (on_a_telephone, on_a_dark_screen):
        assert len(found["images"]) == 1
        assert all(found["images"])
        assert found["sheet"] > 500


def test_a_telephone_never_scrolls_sideways(on_a_telephone):
    assert on_a_telephone["width"] == 360
    assert on_a_telephone["scroll"] <= 360
    assert on_a_telephone["outside"] == []
    assert on_a_telephone["small"] >= 11


def test_no_tick_stands_on_another(on_a_telephone, on_a_dark_screen):
    assert on_a_telephone["crowded"] == on_a_dark_screen["crowded"] == 0


def test_no_picture_of_the_map_covers_another(on_a_telephone, on_a_dark_screen):
    assert on_a_telephone["covered"] == on_a_dark_screen["covered"] == 0
    assert 10 < on_a_telephone["shown"] < on_a_dark_screen["shown"]


def test_a_tap_enlarges_a_picture_and_names_it(on_a_telephone):
    assert on_a_telephone["enlarged"] == 128
    assert json.loads(on_a_telephone["called"]) == on_a_telephone["name"]


def test_light_and_dark(on_a_telephone, on_a_dark_screen):
    assert brightness(on_a_telephone["background"]) > 0.9
    assert brightness(on_a_dark_screen["background"]) < 0.02
    for found in (on_a_telephone, on_a_dark_screen):
        light, dark = sorted((brightness(found["background"]), brightness(found["text"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 12


def test_a_run_without_anything_is_a_quiet_page_too(bare_run, tmp_path):
    found = measured(write_report(bare_run), tmp_path, 360)
    assert found["scroll"] <= 360
    assert found["outside"] == []
    assert found["shown"] == 0
