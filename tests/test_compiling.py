"""Without numba, or with one that does not work, torch does its work, and it is said once."""

from __future__ import annotations

import importlib
import warnings

import pytest

from selfsight import allocator, compiling
from selfsight.compiling import compiled_module


@pytest.fixture(autouse=True)
def forgotten():
    compiled_module.cache_clear()
    yield
    compiled_module.cache_clear()


def test_without_numba_there_is_none_and_nothing_is_said(monkeypatch):
    monkeypatch.setattr(compiling, "find_spec", lambda _: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled_module("passes") is None


def test_a_numba_that_cannot_be_used_is_told_once(monkeypatch):
    def refuse(_):
        raise ImportError("Numba needs NumPy 1.26 or less")

    monkeypatch.setattr(compiling, "find_spec", lambda _: "found")
    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.warns(RuntimeWarning, match=r"cannot be used \(Numba needs NumPy 1.26 or less\): torch does its work"):
        assert compiled_module("passes") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled_module("passes") is None


@pytest.mark.parametrize(
    ("most", "kept", "asked"),
    [(1 << 30, True, 3), (32 << 20, True, 4), (1 << 20, False, 2)],  # glibc now; before 2.35; none that there was
)
def test_an_allocator_that_takes_less_is_asked_for_less_and_never_for_half_of_it(monkeypatch, most, kept, asked):
    """Any of its thresholds, once set, stops the one for large blocks from moving by itself."""
    calls = []

    class Library:
        @staticmethod
        def mallopt(which, value):
            calls.append(which)
            return int(which != allocator.M_MMAP_THRESHOLD or value <= most)

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: Library)
    monkeypatch.setattr(allocator.os, "confstr", lambda _: "glibc 2.31")
    monkeypatch.delenv(allocator.OFF, raising=False)
    assert allocator.keep_memory() is kept
    assert len(calls) == asked
