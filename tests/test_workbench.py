"""Training as a user does it: whole runs on real images, stopped, killed and resumed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import selfsight
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.optimizer import Optimization
from selfsight.tasks import Rotation, SimCLR

TINY = {"encoder": Small(width=8), "batch": 48, "precision": "32-true"}


def told():
    return Console(file=io.StringIO(), width=200)


def small_run(folder, out, **settings):
    console = told()
    run = selfsight.pretrain(folder, out=out, console=console, **{**TINY, "steps": 6, **settings})
    return run, console.file.getvalue()


@pytest.fixture(scope="module")
def finished(photo_folder, tmp_path_factory):
    os.environ["SELFSIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    return small_run(photo_folder, tmp_path_factory.mktemp("runs") / "a", task=SimCLR(hidden=32, projection=16))


def test_a_run_holds_everything_about_it(finished):
    run, _ = finished
    names = {path.name for path in run.path.iterdir()} - {"run.lock"}
    assert names == {
        "recipe.json",
        "environment.json",
        "plan.json",
        "series.jsonl",
        "pace.jsonl",
        "probes.jsonl",
        "checkpoints",
        "encoder.safetensors",
        "scores.json",
        "findings.json",
        "finished.json",
        "exhibits",
        "skipped.csv",
        "duplicates.csv",
        "report.html",
    }
    assert [line["step"] for line in run.lines("series")] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "partner found"} <= set(run.lines("series")[0])
    assert run.json("plan")["constant"] == pytest.approx(np.log(2 * 48 - 1))
    assert run.json("environment")["memory_kept_between_steps"] in (True, False)
    assert run.json("environment")["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert {row["name"] for row in run.json("scores")["label_free"]} >= {"effective rank", "alpha", "view retrieval"}
    probe = run.lines("probes")[-1]
    assert probe["name"] == "kNN accuracy"
    assert probe["low"] <= probe["value"] <= probe["high"]
    assert 0 <= probe["untrained"] <= 1


def test_what_is_said_names_speed_waiting_time_and_the_constant_answer(finished):
    _, said = finished
    for words in (
        "240 images of 32 x 32, colour",
        "images/s",
        "waiting for data",
        "left",
        "constant answer 4.554",
        "kNN accuracy",
        "untrained",
    ):
        assert words in said


def test_an_existing_run_is_not_written_over(finished, photo_folder):
    run, _ = finished
    with pytest.raises(UserError, match="already holds a run.*resume"):
        small_run(photo_folder, run.path)


def test_a_finished_run_says_so(finished):
    with pytest.raises(UserError, match="finished: all 6 steps"):
        selfsight.resume(finished[0].path, console=told())


def test_without_labels_quality_is_told_label_free(photo_folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in Path(photo_folder).rglob("*.png"):
        (flat / path.name).symlink_to(path)
    run, said = small_run(str(flat), tmp_path / "run", task=Rotation())
    assert {line["name"] for line in run.lines("probes")} == {"view retrieval", "effective rank"}
    assert "view retrieval" in said


def test_labels_change_nothing_but_the_probe(photo_folder, finished, tmp_path):
    """The same images without labels give the same curve, to the last bit."""
    table = tmp_path / "images.csv"
    rows = sorted(str(path.relative_to(photo_folder)) for path in Path(photo_folder).rglob("*.png"))
    table.write_text("path\n" + "\n".join(rows) + "\n")
    source = selfsight.sources.Manifest(str(table), root=photo_folder)
    run, _ = small_run(source, tmp_path / "run", task=SimCLR(hidden=32, projection=16))
    assert [line["loss"] for line in run.lines("series")] == [line["loss"] for line in finished[0].lines("series")]


def test_the_bad_files_of_a_folder_are_listed_and_the_rest_trains(photographs, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(200):
        Image.fromarray(photographs[number]).save(folder / f"good{number:03}.png")
    rng = np.random.default_rng(0)
    (folder / "text.jpg").write_text("this is not a picture")
    whole = io.BytesIO()
    Image.fromarray(photographs[0]).save(whole, "PNG")
    (folder / "truncated.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.fromarray(rng.integers(0, 65535, (40, 40), dtype=np.uint16)).save(folder / "sixteen.tiff")
    Image.fromarray(rng.integers(0, 255, (40, 40, 4), dtype=np.uint8)).save(folder / "rgba.png")
    Image.fromarray(photographs[1]).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(photographs[2]).resize((5000, 4000)).save(folder / "twenty_megapixels.jpg")
    run, said = small_run(str(folder), tmp_path / "run", size=32, steps=3)
    listed = {line.partition(",")[0] for line in (run.path / "skipped.csv").read_text().splitlines()[1:]}
    assert listed == {"text.jpg", "truncated.png", "one.png"}
    assert run.json("plan")["images"] == 204
    assert "left out: 3 of 207" in said
    for name in listed:
        assert name in said


def test_a_run_in_use_is_not_touched(finished):
    from filelock import FileLock

    run, _ = finished
    kept = (run.path / "finished.json").read_text()
    (run.path / "finished.json").unlink()
    try:
        with FileLock(run.path / "run.lock"), pytest.raises(UserError, match="being trained by another process"):
            selfsight.resume(run.path, console=told())
    finally:
        (run.path / "finished.json").write_text(kept)


def test_arrays_can_be_learned_from_and_gone_on_with(photographs, tmp_path):
    run, _ = small_run(photographs[:96], tmp_path / "run", steps=2)
    assert run.json("recipe")["data"]["class_path"].endswith("Packed")
    (run.path / "finished.json").unlink()
    assert selfsight.resume(run, console=told()).lines("series") == run.lines("series")


def test_baselines_never_start_from_the_weights_that_training_did(finished, photo_folder, tmp_path):
    run, _ = finished
    again = Small(width=8, weights=str(run.path))
    more, _ = small_run(photo_folder, tmp_path / "run", task=SimCLR(hidden=32, projection=16), encoder=again, steps=2)
    before = {line["name"]: line["untrained"] for line in more.lines("probes")}
    assert before == {line["name"]: line["untrained"] for line in run.lines("probes")}


@pytest.mark.parametrize("wrong", [{"task": "SimCLR"}, {"recipe": selfsight.Recipe(data="."), "steps": 3}])
def test_wrong_words_in_python_are_one_sentence(wrong, photo_folder):
    with pytest.raises(UserError, match="give a task|not both"):
        selfsight.pretrain(photo_folder, **wrong)


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(UserError, match=r"a\.png"):
        small_run(str(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_explodes_is_told_with_a_cure(photo_folder, tmp_path):
    with pytest.raises(UserError, match=r"became (nan|inf).*lower rate.*--optimizer.rate"):
        small_run(
            photo_folder,
            tmp_path / "run",
            task=SimCLR(temperature=1e-30),
            steps=40,
            optimizer=Optimization(rate=1e30, warmup=0.0),
        )


def test_changed_images_cannot_be_gone_on_with(photographs, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(photographs[number]).save(folder / f"{number}.png")
    run, _ = small_run(str(folder), tmp_path / "run", steps=2)
    (run.path / "finished.json").unlink()
    (folder / "59.png").unlink()
    with pytest.raises(UserError, match="not the ones it was started with"):
        selfsight.resume(run, console=told())


def test_epochs_and_minutes_become_steps(photo_folder, tmp_path):
    run, _ = small_run(photo_folder, tmp_path / "a", steps=None, epochs=1.5)
    assert run.json("plan")["steps"] == 8  # 240 images are 5 batches of 48
    run, _ = small_run(photo_folder, tmp_path / "b", steps=None, minutes=0.02, precision="auto")
    plan = run.json("plan")
    assert plan["steps"] == max(1, round(0.02 * 60 / plan["seconds_per_step"]))
    assert plan["precision"] in ("32-true", "bf16-mixed")
    assert "fp32" in plan["precision_reason"] or "no bf16" in plan["precision_reason"]


def test_a_store_is_taken_in_place_of_the_images(photo_folder, finished, tmp_path):
    store = selfsight.pack(photo_folder, out=tmp_path / "p.store", console=told())
    run, _ = small_run(str(store.path), tmp_path / "run", task=SimCLR(hidden=32, projection=16))
    assert [line["loss"] for line in run.lines("series")] == [line["loss"] for line in finished[0].lines("series")]
    with pytest.raises(UserError, match="packed at 32 pixels, not 48"):
        small_run(str(store.path), tmp_path / "other", size=48)


def test_scores_json_is_plain(finished):
    assert json.loads((finished[0].path / "scores.json").read_text())
