"""A run of Tokens is taken up again: its page, its tokens, and how many a picture needs."""

import shutil

import numpy as np
import pytest
import torch
from rich.console import Console

import selfsight
from selfsight.beginnings import beginnings
from selfsight.cli import main, run
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.keepsakes import Keepsakes, forget, keepsakes
from selfsight.probe import Labelled
from selfsight.reading import Reading, pixels_of
from selfsight.run import Run
from selfsight.spellingout import tokens
from selfsight.storing import learned_from, store_of

QUIET = Console(quiet=True)
SMALL = {"encoder": Small(width=4), "batch": 24, "console": QUIET, "doctor": "off", "size": 32}


def test_the_page_shows_every_token_of_every_picture(speller_run, photo_folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    (tmp_path / "no.jpg").write_text("no picture")
    words = [
        "tokens",
        str(speller_run),
        photo_folder,
        str(tmp_path / "no.jpg"),
        "--out",
        str(page),
        "--threshold",
        "0.02",
    ]
    assert run(words) == 0
    text = page.read_text()
    assert text.count("<img") == 24 * (1 + 1 + 3 * 3)
    assert text.count('alt="read after 3"') == 24
    assert "no.jpg" in text and "no.jpg" in capsys.readouterr().err
    assert "http" not in text.replace("http-equiv", "")


def test_lengths_are_fixed_searched_or_foreseen(speller_run, photo_folder, tmp_path):
    out = tokens(speller_run, photo_folder, count=2, out=tmp_path / "a.html", console=QUIET)
    assert "2 tokens each" in out.read_text() and "<h3>3 tokens" not in out.read_text()
    out = tokens(speller_run, photo_folder, quick=True, out=tmp_path / "b.html", console=QUIET)
    assert "foreseen in one look" in out.read_text()


def test_tokens_are_written_beside_embeddings(speller_run, photo_folder, photographs, tmp_path):
    selfsight.embed(speller_run, photo_folder, out=tmp_path / "e.npz", console=QUIET)
    written = np.load(tmp_path / "e.npz")
    assert written["tokens"].shape == (240, 3, 11)
    assert written["embeddings"].shape == (240, selfsight.encoder_of(speller_run).dim)
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    selfsight.embed(speller_run, photo_folder, out=tmp_path / "e.parquet", console=QUIET)
    column = pq.read_table(tmp_path / "e.parquet")["tokens"]
    assert np.array(column[0].as_py()) == pytest.approx(written["tokens"][0].ravel(), abs=1e-6)


def test_the_weights_are_the_checkpoints_and_the_numbers_vary_as_was_counted(speller_run, photographs):
    reading = Reading.open(speller_run)
    assert float(reading.spelling.counted) == 48 and not torch.equal(reading.spelling.scale, torch.ones(3, 11))
    images = pixels_of(photographs)
    spelt = reading.spelling.spell(images, reading.encoder)
    ratio = spelt.numbers.square().mean(0).sqrt() / reading.spelling.scale
    assert 0.5 < ratio[:, :10].median() < 2


def test_other_runs_and_impossible_wishes_are_refused(speller_run, photo_folder, tmp_path, capsys):
    other = selfsight.pretrain(photo_folder, task=selfsight.Rotation(), out=tmp_path / "r", steps=1, **SMALL).path
    with pytest.raises(UserError, match="spells nothing"):
        tokens(other, photo_folder, console=QUIET)
    with pytest.raises(UserError, match="1 to 3"):
        tokens(speller_run, photo_folder, count=4, console=QUIET)
    with pytest.raises(UserError, match="more than 0"):
        tokens(speller_run, photo_folder, threshold=0.0, console=QUIET)
    with pytest.raises(SystemExit):
        main(["tokens", str(speller_run), str(tmp_path / "nothing.png")])
    assert "No picture could be read" in capsys.readouterr().err


def test_beginnings_of_a_spelling_are_judged(speller_run, photo_folder, capsys):
    """One token, two, all, tokens alone, untrained, and as many principal components."""
    assert run(["evaluate", speller_run, "--data", photo_folder, "--tokens", "--probes", "knn"]) == 0
    told = capsys.readouterr().out
    for name in ("1 token ", "3 tokens ", "token 2 alone", "3 tokens, untrained", "pixels' first 33 components"):
        assert name in told
    assert "trained is " in told
    scores = Run.open(speller_run).json("scores")["evaluations"][-1]["scores"]
    assert len({score["subject"] for score in scores}) == 13


def test_a_beginning_is_the_first_tokens_and_no_more(speller_run, photographs):
    labels = np.arange(240) % 6
    known, asked = (
        Labelled(np.zeros((120, 1)), labels[part], photographs[part]) for part in np.split(np.arange(240), 2)
    )
    found = {one.name: one for one in beginnings(speller_run, known, asked, tuple("abcdef"), 0)}
    whole = Reading.open(speller_run).tokens(photographs[:120])
    assert np.array_equal(found["2 tokens"].train.features, whole[:, :2].reshape(120, -1))
    assert np.array_equal(found["token 2 alone"].train.features, whole[:, 1])
    assert not np.allclose(found["3 tokens, untrained"].train.features, whole.reshape(120, -1))
    flat = photographs[:120].reshape(120, -1) / 255
    assert np.allclose(
        found["pixels' first 11 components"].train.features.var(0, ddof=1)[0],
        np.linalg.eigvalsh(np.cov(flat.T))[-1],
        rtol=0.02,
    )


def test_a_run_that_spells_nothing_has_no_beginnings(restorer_run, photographs):
    part = Labelled(np.zeros((4, 1)), np.arange(4) % 2, photographs[:4])
    with pytest.raises(UserError, match="which spells nothing"):
        next(beginnings(restorer_run, part, part, ("a", "b"), 0))


def test_a_run_keeps_how_the_same_images_were_spelled_as_it_learned(speller_run, photo_folder, tmp_path):
    kept = keepsakes(Run.open(speller_run))
    assert [step for step, _ in kept] == [1, 2, 3, 4, 5, 6]
    assert {name: tuple(value.shape) for name, value in kept[-1][1].items()} == {
        "tokens": (16, 3, 11),
        "errors": (16, 4),
    }
    assert not torch.equal(kept[0][1]["tokens"], kept[-1][1]["tokens"])
    reading = Reading.open(speller_run)
    recipe, store = reading.recipe, store_of(reading.recipe, QUIET)
    again = Keepsakes(Run.open(speller_run), recipe.task, store, learned_from(store), recipe.seed)
    spelt = reading.tokens(again.images.permute(0, 2, 3, 1).numpy())
    assert np.allclose(spelt, kept[-1][1]["tokens"], atol=1e-5)
    page = tokens(speller_run, photo_folder, count=1, out=tmp_path / "c.html", console=QUIET).read_text()
    learned = page.partition("As it learned")[2].partition("</section>")[0]
    assert learned.count("<tr") == 1 + 6 and "1.000" in learned


def test_what_is_trained_again_is_kept_once(speller_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(speller_run, copy.path)
    forget(copy, 4)
    assert [step for step, _ in keepsakes(copy)] == [1, 2, 3, 4]


def test_tasks_that_keep_nothing_leave_no_folder(restorer_run):
    assert not (Run.open(restorer_run).path / "keepsakes").exists()
