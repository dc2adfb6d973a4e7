"""The command line as a shell sees it: what is printed, where, and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import selfsight
from selfsight.cli import COMMANDS, main, run
from selfsight.encoders import Small
from selfsight.errors import UserError


@pytest.fixture(scope="module")
def trained(photo_folder, tmp_path_factory):
    from rich.console import Console

    out = tmp_path_factory.mktemp("cli") / "run"
    selfsight.pretrain(photo_folder, out=out, encoder=Small(width=8), batch=48, steps=8, console=Console(quiet=True))
    return str(out)


def test_help_is_complete_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom selfsight.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'timm', 'jsonargparse', 'PIL', 'rich'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name, (summary, _) in COMMANDS.items():
        assert f"{name} " in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code in (0, None)
    assert f"selfsight {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pretran", "x"], "no command 'pretran' (did you mean 'pretrain'?)"),
        (["pretrain", "/nowhere/at/all"], "/nowhere/at/all does not exist"),
        (["pretrain"], "Which images?"),
        (["pretrain", ".", "--encoder", "resnt18", "--steps", "1"], "no backbone called 'resnt18'"),
        (["resume", "/nowhere"], "is not a run"),
        (["evaluate", "/nowhere", "--probes", "nkn"], "no probe 'nkn' (did you mean 'knn'?)"),
        (["embed", "/nowhere", ".", "--out", "e.npz"], "no weights at /nowhere"),
        (["export", "/nowhere", "--too", "e.onnx"], "--to"),
        (["report", "/nowhere"], "is not a run"),
        (["pack", "."], "--out"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(words, says, capsys, tmp_path, monkeypatch, photographs):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photographs[0]).save("a.png")
    Image.fromarray(photographs[1]).save("b.png")
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert says in said
    assert "Traceback" not in said
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(UserError):
        main(["resume", str(tmp_path), "--debug"])


def test_evaluate_prints_the_table_and_keeps_the_scores(trained, capsys):
    assert run(["evaluate", trained, "--probes", "knn,linear,clustering"]) == 0
    said = capsys.readouterr().out
    for words in (
        "trained",
        "untrained",
        "pixels",
        "hand-made",
        "kNN (k=20)",
        "trained - pixels = ",
        "NMI",
    ):
        assert words in said
    kept = json.loads((Path(trained) / "scores.json").read_text())["evaluations"][-1]
    assert {score["subject"] for score in kept["scores"]} == {"trained", "untrained", "pixels", "hand-made"}
    assert run(["evaluate", trained, "--probes", "knn", "--json"]) == 0
    assert {score["probe"] for score in json.loads(capsys.readouterr().out)["scores"]} == {"kNN (k=20)"}


def test_evaluate_with_the_supervised_encoder(trained, capsys):
    assert run(["evaluate", trained, "--probes", "knn", "--supervised", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert "supervised" in {score["subject"] for score in scores}


def test_transfer_tells_each_number_of_epochs_with_and_without_the_prior(trained, capsys):
    assert run(["transfer", trained, "--epochs", "1,2", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    asked = {score["probe"] for score in scores if score["subject"] == "trained"}
    tied = ", val classes only, balanced"
    assert asked == {f"fine-tuning ({n} epochs{more})" for n in (1, 2) for more in ("", tied)}
    with pytest.raises(UserError, match="whole numbers such as 5,20, not 'five'"):
        run(["transfer", trained, "--epochs", "five"])
    for wrong in (["--epochs", "0"], ["--minutes", "0"], ["--minutes", "nan"], ["--minutes", "inf"]):
        with pytest.raises(UserError, match="epochs are at least 1 and minutes above 0"):
            run(["transfer", trained, *wrong])


def test_transfer_for_some_minutes(trained, capsys):
    assert run(["transfer", trained, "--minutes", "0.01", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    asked = {score["probe"] for score in scores if score["subject"] == "trained"}
    assert asked == {f"fine-tuning (0.01 minutes{more})" for more in ("", ", val classes only, balanced")}
    with pytest.raises(UserError, match=r"numbers such as 0\.5,2, not 'two'"):
        run(["transfer", trained, "--minutes", "two"])


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_embed_writes_embeddings_with_names(trained, photo_folder, tmp_path, ending):
    out = tmp_path / f"e{ending}"
    assert run(["embed", trained, photo_folder, "--out", str(out)]) == 0
    if ending == ".npz":
        kept = np.load(out)
        names, embeddings = kept["names"].tolist(), kept["embeddings"]
        assert set(kept["labels"].tolist()) == {f"photo{i}" for i in range(6)}
    else:
        import pyarrow.parquet as pq

        table = pq.read_table(out).to_pydict()
        names, embeddings = table["name"], np.array(table["embedding"], np.float32)
    assert embeddings.shape == (240, 64)
    assert embeddings.std(0).max() > 0
    one = Path(photo_folder) / names[17]
    import torch

    pixels = torch.from_numpy(np.asarray(Image.open(one)).copy()).permute(2, 0, 1)[None].float() / 255
    assert np.allclose(selfsight.encoder_of(trained)(pixels).numpy()[0], embeddings[17], atol=1e-5)


def test_embed_refuses_an_unknown_ending(trained, photo_folder, tmp_path):
    with pytest.raises(UserError, match=r"\.npz or \.parquet, not as 'e.txt'"):
        run(["embed", trained, photo_folder, "--out", str(tmp_path / "e.txt")])


def test_export_gives_the_same_embeddings(trained, photo_folder, photographs, tmp_path):
    import torch

    assert run(["export", trained, "--to", str(tmp_path / "e.safetensors")]) == 0
    images = torch.from_numpy(photographs[:5]).permute(0, 3, 1, 2).float() / 255
    ours = selfsight.encoder_of(trained)(images)
    assert torch.equal(selfsight.encoder_of(tmp_path / "e.safetensors")(images), ours)
    assert run(["export", trained, "--to", str(tmp_path / "e.onnx")]) == 0
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "e.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        theirs = session.run(["embeddings"], {"images": images[:n].numpy()})[0]
        assert np.allclose(theirs, ours[:n].numpy(), atol=1e-4)
    with pytest.raises(UserError, match="safetensors or .onnx"):
        run(["export", trained, "--to", str(tmp_path / "e.pt")])
    # and a new training may start from what was exported
    assert (
        run(
            [
                "pretrain",
                photo_folder,
                "--out",
                str(tmp_path / "next"),
                "--steps",
                "1",
                "--encoder.width",
                "8",
                "--batch",
                "48",
                "--encoder.weights",
                str(tmp_path / "e.safetensors"),
            ]
        )
        == 0
    )
    assert "100.0% of the parameters" in json.loads((tmp_path / "next" / "plan.json").read_text())["loaded"]


def test_show_draws_each_task(photo_folder, tmp_path, capsys):
    for task in ("SimCLR", "BYOL", "VICReg", "Rotation"):
        out = tmp_path / f"{task}.png"
        assert run(["show", "--task", task, "--data", photo_folder, "--out", str(out)]) == 0
        assert str(out) in capsys.readouterr().out
        with Image.open(out) as picture:
            assert picture.width > 400


def test_pack_then_use(photo_folder, tmp_path, capsys):
    assert run(["pack", photo_folder, "--out", str(tmp_path / "p.store"), "--size", "24"]) == 0
    assert "240 images of 24 x 24, colour" in capsys.readouterr().err
    assert run(["show", "--data", str(tmp_path / "p.store"), "--out", str(tmp_path / "x.png")]) == 0


def test_explain_config_names_origins(photo_folder, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("seed: 5\n")
    assert run(["explain-config", photo_folder, "--config", str(tmp_path / "a.yaml"), "--minutes", "3"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "a.yaml" in lines["seed"]
    assert "command line: --minutes" in lines["minutes"]
    assert lines["batch"].rstrip().endswith("default")


def test_print_config_can_be_read_again(photo_folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", photo_folder, "--task", "VICReg", "--seed", "8", "--print_config"])
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    from selfsight.config import parse, recipe_of, recipe_parser

    parser = recipe_parser()
    parser.add_argument("--out", type=str, default=None)
    recipe = recipe_of(parse(parser, ["--config", str(tmp_path / "c.yaml")]), parser)
    assert recipe.seed == 8
    assert recipe.task == selfsight.VICReg()


def test_a_task_from_ones_own_file(photo_folder, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom selfsight.tasks import Rotation\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Upright(Rotation):\n    '''Mine.'''\n    unused: int = 3\n"
    )
    words = [
        "pretrain",
        photo_folder,
        "--task",
        "mine.Upright",
        "--task.unused",
        "4",
        "--steps",
        "2",
        "--encoder.width",
        "8",
        "--batch",
        "48",
        "--out",
        "r",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "selfsight", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r" / "recipe.json").read_text())["task"] == {
        "class_path": "mine.Upright",
        "init_args": {"views": selfsight.recipe.to_json(selfsight.Rotation())["init_args"]["views"], "unused": 4},
    }
