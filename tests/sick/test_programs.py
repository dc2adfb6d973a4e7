"""The sick programs: clean hosts run, repeat and learn; each fault really changes its host; the killed-test tells harm from none."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doctor_programs.faults import COMPONENTS, DOUBLES, FAULTS, Double, Fault
from doctor_programs.faults.data import tensors
from doctor_programs.host import Host, plain_step
from doctor_programs.hosts import CORE, FURTHER, HOSTS
from doctor_programs.killed import SEEDS, harm, judged, killed, run

from selfsight.program import Program

CAUSES = {
    "data": "index-contract not-what-you-think scale-mismatch frozen-augmentation workers-share-seed views-identical "
    "views-misaligned views-unrelated sorted-batches one-batch-forever wrong-input-slot no-signal-in-data",
    "labels": "target-shape target-constant label-map labels-unrelated",
    "model": "ignores-input reads-a-global mixes-examples normalises-over-batch batch-of-one built-wrong dead-units symmetric-units "
    "scale-blow-up shared-norm train-eval-mode detached hidden-parameters bypasses-code",
    "loss": "loss-activation-mismatch activation-twice wrong-loss sign-flipped temperature pair-signs whole-tensor-normalise log-missing "
    "term-balance degenerate-optimum ignores-targets gradient-cut target-shape nothing-to-learn",
    "optimizer": "not-in-optimizer stale-parameters teacher-in-optimizer rate-too-large rate-too-small rate-zero lost-updates never-unfreezes",
    "loop": "no-zero-grad no-step step-before-backward model-rebuilt one-batch-forever train-eval-mode",
    "teacher": "teacher-is-student teacher-never-moves teacher-partly-moves no-stop-gradient teacher-gets-gradient",
}
by_name = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def numbers(told: Any) -> list[float]:
    """A nest of tensors as a few numbers that tell it from another."""
    summed = []
    for tensor in tensors(told):
        flat = tensor.detach().double().flatten()
        summed += [float(flat.numel()), float((flat * torch.linspace(1, 2, flat.numel(), dtype=torch.float64)).sum())]
    return summed


def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def small(host: Host) -> Host:
    """The host with a sixth of its pictures, of all classes, so that a pass is quick."""

    def pictures(train: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, classes = host.pictures(train)
        chosen = torch.linspace(0, len(images) - 1, 200 if train else 100).long()
        return images[chosen], classes[chosen]

    return replace(host, pictures=pictures)


def first(batches: Any) -> Any:
    return next(iter(batches))


def weights(model: torch.nn.Module) -> list[Any]:
    """What a training has made of a model: its state, and each module's mode."""
    return [*numbers(list(model.state_dict().values())), *(part.training for part in model.modules())]


def signature(host: Host, program: Program) -> dict[str, list[Any]]:
    """Everything about a program that two steps can show."""
    seeded()
    passed = list(islice(program.batches(), 2))
    shown: dict[str, list[Any]] = {"batches": numbers(passed)}
    if program.dataset is not None:
        shown["items"] = [len(program.dataset), *numbers([program.dataset[0], program.dataset[0]])]
    if host.name == "classifier" and program.validation is not None:
        shown["validation"] = numbers(first(program.validation()))
    seeded()
    model = program.model()
    optimizer = program.optimizer(model)
    shown["parameters"] = [
        len(list(model.parameters())),
        *(parameter.requires_grad for parameter in model.parameters()),
    ]
    shown["held"] = [sum(len(group["params"]) for group in optimizer.param_groups)]
    with torch.no_grad():
        shown["loss"] = numbers(program.loss(model, passed[0]))
    for number, batch in enumerate((passed * 2)[:2]):
        if program.step:
            program.step(model, optimizer, batch)
        else:
            plain_step(host, model, optimizer, batch)
        shown[f"step {number}"] = weights(model)
    if program.between_epochs:
        program.between_epochs(model, optimizer, 0)
        shown["epoch"] = weights(model)
    return shown


def same_signature(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> bool:
    """Equal, where NaN equals NaN."""
    return repr(one) == repr(other)


@by_name
def test_a_clean_host_repeats_itself(host: Host) -> None:
    host = small(host)
    one, other = (signature(host, host.program()) for _ in range(2))
    assert same_signature(one, other)
    assert one["step 0"] != one["step 1"]
    assert all(np.isfinite(one["loss"]))


@by_name
def test_a_clean_host_learns(host: Host) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        untrained = max(host.floor, host.metric(host, host.model().eval()))
    learned = host.score(0, host.steps // 3)
    assert host.floor < host.good
    assert learned > untrained + 0.1 * (host.good - untrained)


def trouble(host: Host, clean: dict[str, list[Any]], fault: Fault | Double) -> str | None:
    """What is wrong with a fault on a host: training cannot be stepped, or nothing differs from the clean one."""
    faulty = fault.inject(host)
    if faulty is None:
        return None
    try:
        shown = signature(faulty, faulty.program())
    except Exception as error:
        return None if fault.raises else f"{fault.id} raises {error!r}"
    return f"{fault.id} changes nothing" if same_signature(clean, shown) and not fault.raises else None


@by_name
def test_each_fault_steps_and_is_felt(host: Host) -> None:
    host = small(host)
    clean = signature(host, host.program())
    doubles = DOUBLES if host.name in ("classifier", "unmixing") else ()
    assert [told for fault in (*FAULTS, *doubles) if (told := trouble(host, clean, fault))] == []


def test_an_injection_leaves_the_host_and_the_random_state_alone() -> None:
    host = small(CORE[3])
    before = signature(host, host.program())
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    for fault in FAULTS:
        if fault.id in ("F17", "F18", "F02b"):
            fault.inject(host)
    assert torch.equal(torch.rand(3), expected)
    assert same_signature(signature(host, host.program()), before)


def applies(fault: Fault | Double, hosts: tuple[Host, ...]) -> bool:
    return any(fault.inject(small(host)) is not None for host in hosts)


def test_the_truths_are_of_the_catalogue() -> None:
    assert len({fault.id for fault in (*FAULTS, *DOUBLES)}) == len(FAULTS) + len(DOUBLES)
    known = {cause for causes in CAUSES.values() for cause in causes.split()}
    for fault in FAULTS:
        assert fault.component in COMPONENTS
        assert fault.causes <= known, fault.id
        assert fault.causes & set(CAUSES[fault.component].split()), fault.id
    assert set(COMPONENTS) == {fault.component for fault in FAULTS}


def test_every_fault_has_a_host() -> None:
    assert [fault.id for fault in (*FAULTS, *DOUBLES) if not applies(fault, HOSTS)] == []
    replay = ("F01", "F13", "F17", "F18", "F19", "F22", "F25", "F44")
    assert all(applies(fault, (CORE[3],)) for fault in FAULTS if fault.id in replay)


def test_a_place_is_right_or_wrong() -> None:
    fault = next(fault for fault in FAULTS if fault.id == "F40")
    host = CORE[0]
    assert fault.found_at(host, "classifier.0.weight")
    assert not fault.found_at(host, "features.0.weight")
    assert not next(fault for fault in FAULTS if fault.place is None).found_at(host, "features")


def test_the_hosts_are_nine() -> None:
    assert {host.name for host in CORE} & {host.name for host in FURTHER} == set()
    assert len(HOSTS) == 9


def test_the_killed_test_tells_harm_from_none() -> None:
    clean = [0.8, 0.82, 0.81, 0.79, 0.8]
    assert killed(clean, [0.5, 0.7, 0.52, 0.6, 0.55])
    assert not killed(clean, [0.79, 0.83, 0.8, 0.8, 0.81])
    assert not killed(clean, [0.95, 0.96, 0.95, 0.96, 0.97])  # better is no harm
    assert not killed(clean, [0.1, 0.95, 0.9, 0.99, 0.95])  # one bad seed of five proves nothing
    assert killed([0.8] * 5, [0.1] * 5)
    assert not killed([0.1] * 5, [0.1] * 5)
    p, d = harm([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert d == pytest.approx(1.0)
    assert p == pytest.approx(0.288, abs=1e-3)  # t = 1.2247 at 4 degrees of freedom


def test_the_killed_test_goes_on_where_it_ended(tmp_path: Path) -> None:
    host = replace(small(CORE[0]), steps=1, metric=lambda host, model: float(torch.rand(())))
    faults = [fault for fault in FAULTS if fault.id in ("F19", "F31", "F18")]
    out = tmp_path / "deep" / "killed.jsonl"
    run(out, [host], faults[:1])
    run(out, [host], faults)
    whole = out.read_text()
    out.write_text(whole + '{"host": "cla')
    run(out, [host], faults)
    assert out.read_text() == whole
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [line["fault"] for line in lines] == [None, "F19", "F31"]  # F18 makes no sense on it
    assert len(lines[0]["scores"]) == SEEDS
    assert lines[2]["clean"] == lines[0]["scores"]


def test_what_raises_is_killed() -> None:
    squeezed = next(fault for fault in FAULTS if fault.id == "F19")
    line = judged(replace(small(CORE[0]), steps=30), squeezed, [0.8] * SEEDS)
    assert line is not None
    assert line["killed"]
    assert line["scores"] == []
    assert line["raised"].startswith("IndexError")
