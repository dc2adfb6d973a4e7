"""Jobs side by side are done in order, by one torch thread each, as the caller would have done them."""

from __future__ import annotations

import threading

import pytest
import torch

from selfsight.abreast import abreast


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_what_is_made_comes_in_the_order_of_the_jobs(threads):
    assert abreast(lambda job: job**2, range(7)) == [job**2 for job in range(7)]
    assert abreast(lambda job: job, []) == []


def test_each_counts_in_one_thread_and_the_caller_keeps_its_own(threads):
    inside = abreast(lambda job: torch.get_num_threads(), range(4))
    assert inside == [1] * 4
    assert torch.get_num_threads() == threads
    begun = []
    later = threading.Thread(target=lambda: begun.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert begun == [threads]


def test_gradients_and_autocast_are_the_callers(threads):
    weight = torch.ones(2, 2, requires_grad=True)

    def asked(_):
        made = weight @ weight
        return made.requires_grad, made.dtype

    assert abreast(asked, range(3)) == [(True, torch.float32)] * 3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert abreast(asked, range(3)) == [(False, torch.bfloat16)] * 3


def test_an_error_of_one_is_the_callers(threads):
    def halved(job):
        if job == 2:
            raise ValueError("two")
        return job

    with pytest.raises(ValueError, match="two"):
        abreast(halved, range(4))
    assert torch.get_num_threads() == threads
