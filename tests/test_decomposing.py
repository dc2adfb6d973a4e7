"""A run of mask models is taken up again, and its page shows every mask and part."""

import numpy as np
import pytest
from rich.console import Console

import selfsight
from selfsight.apart import Apart
from selfsight.cli import main
from selfsight.decomposing import decompose
from selfsight.encoders import Small
from selfsight.errors import UserError

QUIET = Console(quiet=True)
SMALL = {"encoder": Small(width=8), "batch": 16, "steps": 2, "console": QUIET, "doctor": "off"}


@pytest.mark.parametrize("task", [selfsight.Decompose(slots=3), selfsight.Saliency(turns=3, width=8)], ids=["d", "s"])
def test_a_page_of_masks(task, tmp_path):
    scenes = selfsight.Scenes(count=30, side=32)
    run = selfsight.pretrain(scenes, task=task, out=tmp_path / "run", size=32, **SMALL)
    page = decompose(run.path, console=QUIET).read_text(encoding="utf-8")
    assert page.count("<img") == 8 * (2 + 3 * 2)
    assert page.count("mask 3: ") == 16  # as text, and for those who cannot see
    assert "http-equiv" in page
    assert 'src="http' not in page
    selfsight.embed(run.path, scenes, out=tmp_path / "e.npz", console=QUIET)
    written = np.load(tmp_path / "e.npz")
    assert written["masks"].shape == (30, 3, 32, 32) and written["masks"].dtype == np.float16
    images = np.stack([scenes.scene(number).image for number in range(30)])
    assert np.array_equal(written["masks"], Apart.open(run.path).masks(images))
    if isinstance(task, selfsight.Decompose):
        assert np.allclose(written["masks"].astype(float).sum(1), 1, atol=1e-2)


def test_from_the_command_line(photo_folder, tmp_path, capsys):
    run = selfsight.pretrain(photo_folder, task=selfsight.Decompose(slots=2), out=tmp_path / "r", size=32, **SMALL)
    with pytest.raises(SystemExit) as left:
        main(["decompose", str(run.path), photo_folder, "--out", str(tmp_path / "page.html")])
    assert left.value.code == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert "page.html" in capsys.readouterr().out


def test_a_run_without_masks_is_told_apart(photo_folder, tmp_path):
    run = selfsight.pretrain(photo_folder, task=selfsight.Rotation(), out=tmp_path / "r", size=32, **SMALL)
    with pytest.raises(UserError, match="makes no masks"):
        decompose(run.path, console=QUIET)
