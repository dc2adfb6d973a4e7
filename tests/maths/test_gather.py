"""What other processes hold, and a process that works alone for a while."""

import torch
import torch.distributed as dist

from selfsight.maths.gather import alone, gathered, processes, rank


def test_one_process_gathers_what_it_has():
    z = torch.randn(3, 2)
    assert (processes(), rank()) == (1, 0)
    assert gathered(z) is z


def test_alone_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "get_rank", lambda: 2)
    z = torch.randn(3, 2)
    assert (processes(), rank()) == (4, 2)
    with alone():
        assert (processes(), rank()) == (1, 0)
        assert gathered(z) is z
    assert (processes(), rank()) == (4, 2)
