"""What waits while images are packed: few of them in memory, little on its way to the disk, and nothing where it is full."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import selfsight.packing
import selfsight.store
from selfsight.errors import UserError
from selfsight.source import Item, Source
from selfsight.sources import Folder
from selfsight.store import Packing, pack


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), (value, 255 - value, 40)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for value in range(20):
        (photos / f"{value:02}.png").write_bytes(picture(10 * value))
    return photos


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


def test_few_images_wait_in_memory(folder, monkeypatch):
    """With one image that takes long in front, decoding goes on by a bounded number of images and then waits."""
    monkeypatch.setattr(selfsight.packing, "TOGETHER", 4)
    started, front = [], []

    @dataclass(frozen=True)
    class Watched(Source):
        def open(self):
            def read(number):
                started.append(number)
                if number == 0:
                    time.sleep(0.5)
                    front.append(len(started))
                return picture(number % 250)

            return [Item(f"{n:04}", lambda n=n: read(n), "1") for n in range(200)]

    assert len(pack(Watched(), Packing(size=8), threads=2)) == 200
    assert front[0] <= 2 * selfsight.packing.AHEAD * 4
    monkeypatch.setattr(selfsight.packing, "WAITING", 1)  # of large pictures as few as there can be
    started.clear(), front.clear()
    assert len(pack(Watched(), Packing(size=9), threads=2)) == 200
    assert front[0] <= 3 * 4


class Full:
    """os.fsync of a disk that is full, from its second call on."""

    def __init__(self, fsync):
        self.fsync, self.calls = fsync, 0

    def __call__(self, descriptor):
        self.calls += 1
        if self.calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.fsync(descriptor)


@pytest.mark.parametrize("fails", ["fsync", "close"])
def test_a_disk_that_is_full_is_told_and_nothing_stays(folder, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(selfsight.store, "SENT", 1)
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", Full(os.fsync))
    else:  # what was not written yet, as gray becomes colour
        monkeypatch.setattr(selfsight.store._Pixels, "_colour", lambda self: self.file.close() or full())
    place = tmp_path / "x.store"
    with pytest.raises(UserError, match="Cannot write the store .*No space left"):
        pack(Folder(str(folder)), out=place)
    assert not place.exists() and not left_behind(tmp_path)
    assert not any(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_sent_to_the_disk_meanwhile_is_what_was_decoded(folder, tmp_path, monkeypatch):
    whole = pack(Folder(str(folder)), out=tmp_path / "whole.store")
    monkeypatch.setattr(selfsight.store, "SENT", 1)
    sent = pack(Folder(str(folder)), out=tmp_path / "sent.store")
    assert np.array_equal(whole.images, sent.images) and whole.images.shape[3] == 3
