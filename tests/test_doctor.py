"""The doctor as a user meets it: verdicts, exit codes, adapters, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import selfsight
from selfsight.check import Finding, Grade
from selfsight.checks import CHECKS
from selfsight.diagnosis import Diagnosis
from selfsight.doctor import selftest
from selfsight.doctor.handbook import handbook
from selfsight.doctor.page import page
from selfsight.doctor.ranking import ranked
from selfsight.planted import Net, Quarters, loss, tiny
from selfsight.run import write_json

ROOT = Path(__file__).parents[1]
PROGRAM = """
import torch
from torch.nn.functional import cross_entropy
from selfsight import Program
from selfsight.planted import Net, batches


class Softmaxed(Net):
    def forward(self, x):
        return torch.softmax(super().forward(x), 1)


def loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def adam(model):
    return torch.optim.Adam(model.parameters(), 3e-3)


sick = Program(batches=batches, model=Softmaxed, loss=loss, optimizer=adam)
well = Program(batches=batches, model=Net, loss=loss, optimizer=adam)


def made():
    return well


def failing(model, batch):
    raise RuntimeError("no such column")


broken = Program(batches=batches, model=Net, loss=failing, optimizer=adam)
"""


OWN_KEPT = selftest.kept


@pytest.fixture(scope="module", autouse=True)
def kept_selftest(tmp_path_factory):
    """The checks' own tests are in contracts/; here they are taken as passed."""
    place = tmp_path_factory.mktemp("selftest") / "kept.json"
    write_json(place, {check.code: "" for check in CHECKS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "kept", lambda: place)
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "training.py"
    path.write_text(PROGRAM)
    return path


def quick(program, **given) -> Diagnosis:
    return selfsight.examine(program, quick=True, **given)


def test_a_healthy_program_is_told_so():
    diagnosis = selfsight.examine(tiny())
    assert diagnosis.alarms == ()
    assert diagnosis.exit_code == 0
    assert diagnosis.verdict.startswith("I found nothing wrong")
    assert diagnosis.progress > 0.9
    assert set(diagnosis.passed) | set(diagnosis.not_applicable) == {check.code for check in CHECKS}
    assert diagnosis.skipped == {}


def test_a_sick_program_is_named_cured_and_told_as_json(file):
    diagnosis = selfsight.examine(f"{file}:sick")
    first = diagnosis.alarms[0]
    assert (first.component, diagnosis.exit_code) == ("loss", 1)
    assert first.cause in ("loss-activation-mismatch", "activation-twice")
    assert first.place.file == str(file)
    assert first.place.line == 1 + PROGRAM.splitlines().index("    return cross_entropy(model(batch[0]), batch[1])")
    assert diagnosis.repair.component == "loss"
    assert diagnosis.repair.after > diagnosis.repair.before
    told = json.loads(json.dumps(diagnosis.to_json()))
    assert told["exit_code"] == 1
    assert told["findings"][0]["grade"] == "PROVEN"


def test_a_program_that_raises_is_told_with_its_line(file):
    diagnosis = quick(f"{file}:broken")
    assert diagnosis.exit_code == 2
    assert "no such column" in diagnosis.broken
    line = 1 + PROGRAM.splitlines().index('    raise RuntimeError("no such column")')
    assert f"{file}:{line}" in diagnosis.broken


def test_a_function_that_makes_a_program_is_called(file):
    assert quick(f"{file}:made").exit_code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [("nothing.py:program", "does not exist"), ("FILE:wel", "did you mean 'well'"), (3, "nothing that can be examined"),
     ("photos", "nothing that can be examined"), ("recipe.json", "does not exist")],
)  # fmt: skip
def test_what_is_no_program_is_one_sentence(given, said, file):
    given = given.replace("FILE", str(file)) if isinstance(given, str) else given
    with pytest.raises(selfsight.UserError, match=said):
        quick(given)


def test_a_triple_is_examined():
    inputs, labels = torch.stack([x for x, _ in Quarters()])[:16], Quarters().labels[:16]
    diagnosis = quick((Net(), nn.CrossEntropyLoss(), (inputs, labels)))
    assert diagnosis.alarms == ()
    wrong = quick((nn.Sequential(Net(), nn.Softmax(1)), nn.CrossEntropyLoss(), (inputs, labels)))
    assert wrong.alarms[0].component == "loss"


def test_a_lightning_module_is_examined_without_a_trainer():
    class Module(Net):
        logged = 0

        def training_step(self, batch, number):
            self.log("loss", 1.0)
            return {"loss": loss(self, batch)}

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), 3e-3)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 10)]

        def log(self, *_):
            raise RuntimeError("no trainer is attached")

    module = Module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    diagnosis = quick(module, data=list(tiny().batches()))
    assert diagnosis.broken is None
    assert diagnosis.alarms == ()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert "log" not in vars(module)
    with pytest.raises(selfsight.UserError, match="needs its training batches"):
        quick(module)


@pytest.mark.parametrize("task", [selfsight.SimCLR(), selfsight.Rotation(), selfsight.BYOL(), selfsight.VICReg()])
def test_our_own_recipes_are_healthy(task, photo_folder):
    recipe = selfsight.Recipe(data=photo_folder, task=task, encoder=selfsight.Small(width=8), batch=48, steps=200)
    diagnosis = quick(recipe)
    assert diagnosis.broken is None
    assert diagnosis.alarms == ()


def test_the_command_lists_explains_and_leaves_with_its_code(file, tmp_path):
    write_json(OWN_KEPT(), {check.code: "" for check in CHECKS})  # in the cache that these processes read

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "selfsight", "doctor", *words], capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stdout + done.stderr

    code, said = run("--list")
    assert code == 0
    assert all(check.code in said for check in CHECKS)
    code, said = run("--explain", "l302")
    assert code == 0
    assert "How it is detected." in said
    assert "What it cannot see." in said
    assert run("--explain", "L999")[0] == 2
    code, said = run(f"{file}:sick", "--quick", "--html", str(tmp_path / "d.html"))
    assert code == 1
    assert "Something is wrong, and it is in the loss" in said
    assert (tmp_path / "d.html").read_text().startswith("<!doctype html>")
    code, said = run(f"{file}:well", "--quick", "--json")
    assert code == 0
    assert json.loads(said[said.index("{") :])["findings"] == [] or code == 0
    assert run("nowhere.py:program")[0] == 2


def test_the_page_holds_evidence_cure_and_pictures(file):
    diagnosis = selfsight.examine(f"{file}:sick")
    html = page(diagnosis)
    for part in ("What was found", "The cure tried", "In pictures", "What was asked", "data:image/png"):
        assert part in html
    assert "<script" not in html


def test_a_consequence_stands_behind_its_cause():
    def alarm(code, cause):
        return Finding(code=code, grade=Grade.PROVEN, component="loss", cause=cause, sentence="-", cure="-")

    found = [alarm("L301", "nothing-to-learn"), alarm("L307", "ignores-targets")]
    assert [finding.code for finding in ranked(found)] == ["L307", "L301"]
    assert [finding.code for finding in ranked(found[:1])] == ["L301"]


def test_the_handbook_in_the_documentation_is_the_checks_own():
    assert (ROOT / "docs" / "checks.md").read_text() == handbook(), (
        "write it anew: python -m selfsight.doctor > docs/checks.md"
    )
