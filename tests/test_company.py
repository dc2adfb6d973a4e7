"""A neighbour is given its core, and the core is taken back."""

from __future__ import annotations

import multiprocessing
import time

import pytest
import torch

from selfsight import company, workbench
from selfsight.company import SECONDS, Company, used
from selfsight.plan import Plan
from selfsight.recipe import Recipe
from selfsight.tasks import SimCLR


class Machine:
    """A clock, and what each second of it was used for."""

    def __init__(self) -> None:
        self.clock = self.everyone = self.own = 0.0

    def run(self, others: float, own: float = 1.0, seconds: float = SECONDS) -> None:
        self.clock += seconds
        self.own += own * seconds
        self.everyone += (own + others) * seconds

    def __call__(self) -> company.Used:
        return self.clock, self.everyone, self.own


@pytest.fixture
def threads(monkeypatch):
    asked = list[int]()
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    return asked


def test_threads_follow_the_cores_that_are_free(threads):
    machine = Machine()
    here = Company(most=4, cores=4, read=machine)
    for others, left in ((0.0, 4), (0.2, 4), (1.0, 3), (0.3, 3), (2.9, 1), (4.0, 1), (0.1, 4)):
        machine.run(others)
        here.look()
        assert here.threads == left, others
    assert threads == [3, 1, 4]


def test_of_many_cores_all_but_one_come_back_while_a_little_is_going_on(threads):
    machine = Machine()
    here = Company(most=8, cores=8, read=machine)
    for others, left in ((4.0, 4), (0.3, 7), (0.1, 8)):
        machine.run(others)
        here.look()
        assert here.threads == left, others


def test_half_a_core_is_enough_to_give_one_up_and_is_not_taken_back_in_between(threads):
    machine = Machine()
    here = Company(most=2, cores=2, read=machine)
    for others, left in ((0.45, 1), (0.5, 1), (0.3, 1), (0.1, 2)):
        machine.run(others)
        here.look()
        assert here.threads == left, others


def test_coming_back_is_not_told_as_giving_way(threads):
    machine = Machine()
    here = Company(most=2, cores=2, read=machine, threads=2)
    here._give(1.0)
    here.told = False
    machine.run(0.0)
    assert here.look() == "" and here.threads == 2


def test_it_is_said_once(threads):
    machine = Machine()
    here = Company(most=2, cores=2, read=machine)
    said = list[str]()
    for others in (0.0, 1.0, 0.0, 1.0):
        machine.run(others)
        said.append(here.look())
    assert [bool(one) for one in said] == [False, True, False, False]
    assert "1.0 of 2 cores" in said[1] and "1 of 2 threads" in said[1]


def test_too_soon_is_no_look(threads):
    machine = Machine()
    here = Company(most=2, cores=2, read=machine)
    machine.run(1.0, seconds=SECONDS / 2)
    assert here.look() == "" and here.threads == 2
    machine.run(1.0, seconds=SECONDS / 2)
    assert here.look()


def test_one_thread_has_nothing_to_give(threads):
    machine = Machine()
    here = Company(most=1, cores=2, read=machine)
    machine.run(2.0)
    assert here.look() == "" and threads == []


def test_the_threads_are_put_back(threads):
    machine = Machine()
    here = Company(most=2, cores=2, read=machine)
    machine.run(1.0)
    here.look()
    here.leave()
    assert threads == [1, 2]


def test_where_nothing_can_be_read_nothing_is_done(threads):
    here = Company(most=2, cores=2, read=lambda: None)
    assert here.look() == "" and threads == []


def test_what_a_recipe_means_by_company(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert company.gives_way("auto", "bf16-mixed") and not company.gives_way("auto", "32-true")
    assert company.gives_way("give_way", "32-true") and not company.gives_way("ignore", "bf16-mixed")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not company.gives_way("give_way", "32-true")


@pytest.mark.parametrize(("ends", "asked"), [("32-true", ["auto", "32-true"]), ("bf16-mixed", ["auto"])])
def test_what_was_timed_with_fewer_threads_than_there_will_be_is_timed_again(threads, monkeypatch, ends, asked):
    seen = []

    def settle(recipe, *_):
        seen.append(recipe.precision)
        reason = "timed" if len(seen) == 1 else "as asked"
        sizes = {"steps": 9, "images": 9, "batch": 3, "size": 32, "channels": 3, "seconds_per_step": None}
        return Plan(**sizes, precision=ends, precision_reason=reason)

    monkeypatch.setattr(workbench, "settle", settle)
    monkeypatch.setattr(workbench, "known_of", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = Company(most=2, cores=2, read=lambda: None)
    here.threads, here.said = 1, "Others use a core."
    plan, _ = workbench._settled(Recipe(data="scenes:8", task=SimCLR()), None, None, here)
    assert seen == asked and (plan.precision, plan.precision_reason) == (ends, "timed")
    assert (here.threads, here.said) == ((2, "") if ends == "32-true" else (1, "Others use a core."))


@pytest.mark.parametrize(("word", "looked"), [("ignore", False), ("auto", True)])
def test_who_ignores_company_is_timed_with_all_threads(monkeypatch, word, looked):
    looks = []
    monkeypatch.setattr(
        workbench, "settle_in", lambda **_: looks.append(1) or Company(most=2, cores=2, read=lambda: None)
    )
    with workbench._company(Recipe(data="scenes:8", task=SimCLR(), company=word)):
        assert bool(looks) is looked


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(used() is None, reason="only Linux tells what others use")
def test_the_work_of_another_process_is_seen_as_that_of_others():
    """A real process, a child that is still running, whose work is nobody's of ours."""
    child = multiprocessing.get_context("fork").Process(target=busy, args=(3.0,))
    child.start()
    try:
        time.sleep(0.2)
        before = used()
        busy(1.0)
        after = used()
    finally:
        child.kill()
        child.join()
    clock, everyone, own = (late - early for late, early in zip(after, before, strict=True))
    assert own <= everyone + 0.1
    assert own >= 0.2 * clock and everyone - own >= 0.2 * clock


@pytest.mark.parametrize(("ago", "waits"), [(0.0, 0.2), (0.15, 0.05), (1.0, 0.0), (60.0, 0.2)])
def test_a_first_look_waits_for_no_more_than_it_has_to(monkeypatch, ago, waits):
    slept, clock = [], [100.0]
    read = lambda: (clock[0], 2 * clock[0], clock[0])  # noqa: E731
    monkeypatch.setattr(company, "Company", lambda: Company(most=2, cores=2, read=read))
    monkeypatch.setattr(
        company.time, "sleep", lambda seconds: slept.append(seconds) or clock.__setitem__(0, clock[0] + seconds)
    )
    since = (100.0 - ago, 2 * (100.0 - ago), 100.0 - ago)
    company.settle_in(since=since).leave()
    assert slept == [pytest.approx(waits)]
