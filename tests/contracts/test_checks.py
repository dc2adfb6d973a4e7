"""Every check: it finds its planted fault, stays silent on its healthy twin, explains itself, and leaves no trace."""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
import torch

from selfsight.case import examining
from selfsight.check import PARAGRAPHS, Check, DoesNotApply, Finding, Grade
from selfsight.checks import CHECKS
from selfsight.doctor.selftest import fault_of

COMPONENTS = {"data", "labels", "model", "loss", "optimizer", "loop", "teacher"}


def named(check: Check) -> str:
    return check.code


def findings_of(check: Check, program) -> list[Finding]:
    with warnings.catch_warnings(), examining(program) as case:
        warnings.simplefilter("ignore")
        try:
            return check.ask(case)
        except DoesNotApply:
            return []


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_it_finds_the_planted_fault_and_nothing_in_its_healthy_twin(check):
    assert fault_of(check) == ""


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_it_explains_itself(check):
    explained = check.explained()
    assert set(explained) == {"", *PARAGRAPHS}
    assert all(len(text) > 20 for text in explained.values())
    assert check.title.endswith("?")
    assert re.fullmatch(r"[A-Z]\d{3}", check.code)


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_its_findings_say_what_is_wrong_and_what_to_do(check):
    for finding in findings_of(check, check.planted()[0]):
        assert finding.code == check.code
        assert finding.component in COMPONENTS
        assert re.fullmatch(r"[a-z0-9-]+", finding.cause)
        assert (
            finding.sentence[0] == finding.sentence[0].upper()
            or not finding.sentence[0].isalpha()
            or (finding.sentence.split()[0].isidentifier())
        )
        assert finding.sentence.rstrip().endswith((".", "?"))
        assert finding.cure
        assert finding.grade in Grade


@pytest.mark.parametrize("check", CHECKS, ids=named)
def test_it_moves_no_random_state(check):
    random.seed(4)
    np.random.seed(4)
    torch.manual_seed(4)
    findings_of(check, check.planted()[1])
    after = random.random(), np.random.rand(), torch.rand(())
    random.seed(4)
    np.random.seed(4)
    torch.manual_seed(4)
    assert after == (random.random(), np.random.rand(), torch.rand(()))


def test_no_two_checks_share_a_code():
    assert len({check.code for check in CHECKS}) == len(CHECKS)
