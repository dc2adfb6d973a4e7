"""Training that is stopped, killed, damaged or shared out: nothing is lost, and the numbers stay the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from rich.console import Console

import selfsight
from selfsight.encoders import Small
from selfsight.interrupt import Interrupt

TINY = {"encoder": Small(width=8), "batch": 48, "precision": "32-true"}

COMMAND = [sys.executable, "-m", "selfsight"]
WORDS = ["--encoder.width", "8", "--batch", "48", "--precision", "32-true", "--task", "BYOL", "--task.hidden", "32"]


def test_ctrl_c_saves_evaluates_and_says_how_to_go_on(photo_folder, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "pretrain", photo_folder, "--out", str(tmp_path / "r"), "--steps", "5000", *WORDS],
        stderr=subprocess.PIPE,
        text=True,
    )
    series = tmp_path / "r" / "series.jsonl"
    _wait(lambda: series.exists() and series.stat().st_size > 200, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert f"selfsight resume {tmp_path / 'r'}" in said
    assert (tmp_path / "r" / "encoder.safetensors").exists()
    assert (tmp_path / "r" / "report.html").exists()
    assert len(list((tmp_path / "r" / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(
    ("heard", "left"),
    [
        ([(signal.SIGTERM, 0), (signal.SIGTERM, 0.1), (signal.SIGTERM, 30)], False),  # the scheduler's, and torchrun's
        ([(signal.SIGINT, 0), (signal.SIGINT, 0.1)], False),  # handed on by torchrun
        ([(signal.SIGINT, 0), (signal.SIGINT, 2)], True),
        ([(signal.SIGTERM, 0), (signal.SIGINT, 2)], True),
    ],
)
def test_a_signal_that_is_handed_on_is_heard_once(heard, left, monkeypatch):
    now, gone = [0.0], []
    monkeypatch.setattr("selfsight.interrupt.time.monotonic", lambda: now[0])
    monkeypatch.setattr("selfsight.interrupt.os._exit", gone.append)
    interrupt = Interrupt()
    for number, at in heard:
        now[0] = 100.0 + at
        interrupt._heard(number, None)
    assert interrupt.asked
    assert bool(gone) == left


def _wait(until, process, seconds=120.0):
    end = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, "the training ended by itself"
        assert time.monotonic() < end, "the training did not begin"
        time.sleep(0.01)


KILLING = """
import os, random, signal, sys, time
from rich.console import Console
import selfsight, sklearn.manifold, timm, PIL.ImageFont
from selfsight.workbench import pretrain, resume
from selfsight.config import recipe_parser, parse, recipe_of
import selfsight.reporting, selfsight.probes
folder, out, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
words = ["--data", folder, "--task", "BYOL", "--task.hidden", "32", "--encoder.width", "8", "--batch", "48", "--precision", "32-true", "--steps", "30"]

def once(go, seconds):
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        import torch
        torch.set_num_threads(1)
        go()
        os._exit(0)
    while time.monotonic() - started < seconds:
        if os.waitpid(child, os.WNOHANG)[0]:
            return time.monotonic() - started, True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds, False

def begin():
    parser = recipe_parser()
    pretrain(recipe=recipe_of(parse(parser, words), parser), out=out, console=Console(quiet=True), save_seconds=0.02)

def go_on():
    try:
        resume(out, console=Console(quiet=True), save_seconds=0.02)
    except selfsight.UserError as error:
        if "finished" not in str(error):
            print(error)
            os._exit(3)

if kills == 0:
    took, ended = once(begin, 300)
    assert ended
    print(took)
else:
    whole, random_time = float(sys.argv[4]), random.Random(5)
    counted, steps = 0, []
    while counted < kills:
        there = os.path.exists(os.path.join(out, "recipe.json"))
        # Anywhere in what a resumed run still does: starting, training, saving, or writing what it found.
        took, ended = once(go_on if there else begin, random_time.uniform(0.0, whole * 0.5))
        counted += not ended
        if ended:
            break
    once(go_on, 300)
    print(counted)
"""


@pytest.mark.timeout(900)
def test_kill_at_twenty_random_instants_changes_nothing(photo_folder, tmp_path):
    """SIGKILL while starting, training, saving or finishing: the curve, the probe and the weights come out the same to
    the last bit, and nothing half-written stays. A run that ends by chance is begun again until there were 20 kills."""
    script = tmp_path / "killing.py"
    script.write_text(KILLING)

    def go(out, *words):
        done = subprocess.run(
            [sys.executable, str(script), photo_folder, str(out), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip().splitlines()[-1]

    whole = tmp_path / "whole"
    seconds = go(whole, 0)
    kills, number = 0, 0
    while kills < 20:
        killed = tmp_path / f"killed{number}"
        kills, number = kills + int(go(killed, 20 - kills, seconds)), number + 1
        for name in ("series.jsonl", "probes.jsonl"):
            assert (killed / name).read_bytes() == (whole / name).read_bytes()
        ours, theirs = (selfsight.encoder.read_weights(str(run))[0] for run in (killed, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert [path for path in killed.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"] == []
        assert len(list((killed / "checkpoints").iterdir())) <= 2


def test_a_checkpoint_that_was_damaged_gives_way_to_the_one_before(photo_folder, tmp_path):
    console = Console(quiet=True)
    run = selfsight.pretrain(
        photo_folder, out=tmp_path / "r", console=console, save_seconds=0.0, **{**TINY, "steps": 5}
    )
    whole = run.lines("series")
    newest = run.checkpoints()[-1][1]
    newest.write_bytes(newest.read_bytes()[:1000])
    (run.path / "finished.json").unlink()
    selfsight.resume(run, console=console)
    assert run.lines("series") == whole


@pytest.mark.timeout(300)
def test_two_processes_train_one_network(photo_folder, tmp_path):
    """Under torchrun: one run, the global batch, and candidates gathered from both processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            "29517",
            "-m",
            "selfsight",
            "pretrain",
            photo_folder,
            "--out",
            str(tmp_path / "r"),
            "--steps",
            "4",
            "--encoder.width",
            "8",
            "--batch",
            "48",
            "--precision",
            "32-true",
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = selfsight.Run.open(tmp_path / "r")
    assert len(run.lines("series")) == 4
    assert {line["images"] for line in run.lines("pace")} == {48}
    assert run.json("plan")["constant"] == pytest.approx(np.log(2 * 48 - 1))
    assert 3.5 < run.lines("series")[0]["loss"] < 5.5  # about ln 95: the candidates of both, not ln 47 of one


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path):
    """Our own temporary names, and those that safetensors writes under before it renames."""
    run = selfsight.Run.create(tmp_path / "r")
    left = [run.path / ".plan.json.77.tmp", run.path / "checkpoints" / ".tmpjAFqz1"]
    for file in left:
        file.write_text("half")
    (run.path / "series.jsonl").write_text("")
    run.sweep()
    assert not any(file.exists() for file in left)
    assert (run.path / "series.jsonl").exists()
