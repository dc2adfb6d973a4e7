"""An allowance is spent by work, not by waiting."""

import time

from selfsight.instruments.clock import PATIENT, Allowance


def test_waiting_costs_a_quarter():
    allowed = Allowance(10)
    time.sleep(0.2)
    assert 0.2 / PATIENT <= allowed.spent < 0.15
    assert not allowed.over


def test_work_is_spent_in_full():
    allowed, worked = Allowance(0.05), time.thread_time()
    while time.thread_time() - worked < 0.06:
        pass
    assert allowed.over
