"""A store: right images in order, everything unreadable named, whole or not there, whoever else is at work."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import selfsight.store
from selfsight.errors import UserError
from selfsight.source import Item, Source
from selfsight.sources import Folder, InMemory
from selfsight.store import Packing, Store, cache, pack

SOURCES = str(Path(selfsight.store.__file__).parents[1])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFSIGHT_CACHE", str(tmp_path / "cache"))


def encoded(image: Image.Image, form: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def save(path: Path, content: Image.Image | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else encoded(content))


def plain(value: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (12, 12), value if mode == "L" else (value, 255 - value, 40))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def left_behind(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))


@pytest.fixture
def folder(tmp_path) -> Path:
    for value in range(20):
        save(tmp_path / "photos" / f"{value:02}.png", plain(10 * value))
    return tmp_path / "photos"


def test_images_and_names_are_in_step(folder):
    store = pack(Folder(str(folder)), Packing(size=8))
    assert store.images.shape == (20, 8, 8, 3)
    assert store.images.dtype == np.uint8
    assert isinstance(store.images, np.memmap)
    assert not store.images.flags.writeable
    for name, image in zip(store.names, store.images, strict=True):
        assert (image == np.array([10 * int(name[:2]), 255 - 10 * int(name[:2]), 40])).all()
    assert (store.sizes == 12).all()
    assert len(set(store.hashes)) == len(store) == 20
    assert np.array_equal(np.load(store.path / "images.npy", mmap_mode="r"), store.images)


def test_nothing_readable_is_a_clear_error_and_leaves_nothing(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / "photos" / name, b"no picture")
    with pytest.raises(UserError, match=r"None of the 2 images .* a\.jpg: not an image .*; b\.jpg: not an image"):
        pack(Folder(str(tmp_path / "photos")), out=tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert not left_behind(tmp_path)


def test_any_error_of_a_source_costs_one_image(folder):
    @dataclass(frozen=True)
    class Odd(Source):
        def open(self):
            def broken():
                raise RuntimeError("line one\nline two")

            def forbidden():
                raise PermissionError(13, "Permission denied")

            def exhausted():
                raise MemoryError

            odd = [Item("b", broken, "1"), Item("f", forbidden, "1"), Item("m", exhausted, "1")]
            return [*odd, *Folder(str(folder)).open()]

    store = pack(Odd(), Packing(size=8))
    assert store.skipped == [
        ("b", "line one line two"),
        ("f", "cannot be read: Permission denied"),
        ("m", "MemoryError"),
    ]
    assert len(store) == 20


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_as_asked(folder, channels):
    save(folder / "gray.png", plain(77, "L"))
    store = pack(Folder(str(folder)), Packing(size=8, channels=channels))
    assert store.images.shape == (21, 8, 8, channels)
    assert (store.images[store.names.index("gray.png")] == 77).all()


def test_same_bytes_whatever_the_threads(folder, tmp_path):
    save(folder / "0bad.png", b"bad")
    save(folder / "big.jpg", encoded(noise(1500, 1200), "JPEG"))  # slower than those behind it
    made = [content(pack(Folder(str(folder)), out=tmp_path / f"{n}.store", threads=n).path) for n in (1, 2, 7)]
    assert set(made[0]) == {
        "store.json", "images.npy", "index.csv", "labels.csv", "skipped.csv", "duplicates.csv"
    }  # fmt: skip
    assert made[0] == made[1] == made[2]


def test_progress_counts_every_image_in_this_thread(folder):
    save(folder / "bad.png", b"bad")
    told = []
    pack(Folder(str(folder)), Packing(size=8), progress=lambda done, total: told.append((done, total)), threads=2)
    assert told == [(done, 21) for done in range(1, 22)]


def test_second_time_nothing_is_decoded(folder, monkeypatch):
    first = pack(Folder(str(folder)))
    assert first.path.parent == cache()
    monkeypatch.setattr(selfsight.packing, "to_pixels", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(selfsight.sources.file, "content", lambda _: pytest.fail("read again"))
    second = pack(Folder(str(folder)), progress=lambda *_: pytest.fail("packed again"))
    assert second.path == first.path
    assert np.array_equal(second.images, first.images)


def test_another_packing_or_content_makes_another_store(folder):
    first = pack(Folder(str(folder)))
    assert pack(Folder(str(folder)), Packing(size=32)).path != first.path
    assert pack(Folder(str(folder)), Packing(fit="pad")).path != first.path
    file = folder / "03.png"
    times = os.stat(file)
    save(file, encoded(plain(31)))  # of the same length, and with the time set back as archives do
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(file).st_size == times.st_size
    again = pack(Folder(str(folder)))
    assert again.path != first.path
    assert (again.images[3] == [31, 224, 40]).all()


def test_a_new_label_or_split_makes_another_store():
    images = np.arange(2 * 36, dtype=np.uint8).reshape(2, 6, 6)
    paths = {
        pack(InMemory(images, labels, splits)).path
        for labels, splits in ((["a", "b"], None), (["b", "a"], None), (["a", "b"], ["train", "val"]))
    }
    assert len(paths) == 3


def test_out_is_reused_where_it_matches_and_never_overwritten(folder, tmp_path, monkeypatch):
    out = tmp_path / "deep" / "photos.store"
    made = content(pack(Folder(str(folder)), out=out).path)
    with monkeypatch.context() as patched:
        patched.setattr(selfsight.packing, "to_pixels", lambda *_: pytest.fail("decoded again"))
        pack(Folder(str(folder)), out=out)
    with pytest.raises(UserError, match=r"another packing.*Delete it, or give another place"):
        pack(Folder(str(folder)), Packing(size=32), out=out)
    assert content(out) == made


def test_out_that_is_something_else_is_left_alone(folder, tmp_path):
    save(tmp_path / "taken" / "thesis.txt", b"years of work")
    for place in (tmp_path / "taken", tmp_path / "taken" / "thesis.txt"):
        with pytest.raises(UserError, match="is not a whole store"):
            pack(Folder(str(folder)), out=place)
    assert (tmp_path / "taken" / "thesis.txt").read_bytes() == b"years of work"
    (tmp_path / "void").mkdir()
    assert len(pack(Folder(str(folder)), out=tmp_path / "void")) == 20


def test_place_that_cannot_be_written(folder, tmp_path):
    save(tmp_path / "file", b"")
    with pytest.raises(UserError, match=r"Cannot write the store .*Give a folder"):
        pack(Folder(str(folder)), out=tmp_path / "file" / "x.store")


def test_damaged_store_in_the_cache_is_made_again_and_elsewhere_told(folder, tmp_path):
    first = pack(Folder(str(folder)))
    before = content(first.path)
    with open(first.path / "images.npy", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="is damaged"):
        Store.open(first.path)
    assert content(pack(Folder(str(folder))).path) == before
    out = pack(Folder(str(folder)), out=tmp_path / "x.store").path
    (out / "images.npy").unlink()
    with pytest.raises(UserError, match="is not a whole store"):
        pack(Folder(str(folder)), out=out)


def test_opening_what_is_no_store_or_a_broken_one(folder, tmp_path):
    with pytest.raises(UserError, match="is not a store"):
        Store.open(folder)
    with pytest.raises(UserError, match="is not a store"):
        Store.open(tmp_path / "nowhere")
    path = pack(Folder(str(folder)), out=tmp_path / "x.store").path
    about = json.loads((path / "store.json").read_text())
    for wrong, told in (({"format": 99}, "format 99"), ({"images": 19}, "is damaged"), ({"size": 9}, "is damaged")):
        (path / "store.json").write_text(json.dumps(about | wrong))
        with pytest.raises(UserError, match=told):
            Store.open(path)
    (path / "store.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        Store.open(path)
    (path / "store.json").write_text(json.dumps(about))
    (path / "labels.csv").unlink()
    with pytest.raises(UserError, match=r"lost its labels\.csv"):
        Store.open(path).labels()


def test_labels_of_other_images_are_refused(folder, tmp_path):
    path = pack(Folder(str(folder)), out=tmp_path / "x.store").path
    rows = (path / "labels.csv").read_text().splitlines()
    (path / "labels.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(UserError, match="is of other images"):
        Store.open(path).labels()


def test_a_source_that_names_two_alike_is_refused(folder):
    @dataclass(frozen=True)
    class Twice(Source):
        def open(self):
            return [replace(item, name="same") for item in Folder(str(folder)).open()]

    with pytest.raises(UserError, match="lists 'same' twice"):
        pack(Twice())


@pytest.mark.parametrize("wrong", [{"size": 0}, {"fit": "zoom"}, {"channels": 2}, {"smallest": -1}])
def test_packing_that_makes_no_sense(wrong):
    with pytest.raises(UserError, match="is no way to pack images: give size >= 1"):
        Packing(**wrong)


def test_a_store_travels_to_another_process_as_its_path(folder):
    store = pack(Folder(str(folder)))
    sent = pickle.dumps(store)
    assert len(sent) < 500
    assert np.array_equal(pickle.loads(sent).images, store.images)


SLOWLY = """
import sys, time
from selfsight import packing, store
from selfsight.sources import Folder
decode = packing.to_pixels
def slow(*given):
    time.sleep(float(sys.argv[3]))
    return decode(*given)
packing.to_pixels = slow
told = []
made = store.pack(Folder(sys.argv[1]), out=sys.argv[2] or None, threads=2, progress=lambda *done: told.append(done))
print(len(told), made.path)
"""


def slowly(folder: Path, out: Path | str, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOWLY, str(folder), str(out), str(seconds)]
    environment = os.environ | {"PYTHONPATH": SOURCES}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_processes_make_one_store(folder, tmp_path):
    packers = [slowly(folder, tmp_path / "x.store", 0.05) for _ in range(2)]
    said = [packer.communicate(timeout=60)[0].split() for packer in packers]
    assert [packer.returncode for packer in packers] == [0, 0]
    assert sorted(int(told) for told, _ in said) == [0, 20]  # one decoded, the other waited and took it over
    assert len(Store.open(tmp_path / "x.store")) == 20
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("cached", [False, True])
def test_killed_packer_leaves_no_store_and_the_next_clears_up(folder, tmp_path, cached):
    place = cache() if cached else tmp_path
    killed = slowly(folder, "" if cached else tmp_path / "x.store", 0.1)
    wait_for(
        lambda: any(file.stat().st_size for left in left_behind(place) for file in left.iterdir()) or killed.poll()
    )
    time.sleep(0.2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert len(left_behind(place)) == 1
    assert [entry for entry in place.iterdir() if (entry / "store.json").exists()] == []
    store = pack(
        Folder(str(folder)), Packing(size=64 if not cached else 32), out=None if cached else tmp_path / "x.store"
    )
    assert len(store) == 20  # in the cache: of another key, so that what was left is not of the store that is made
    assert not left_behind(place)
    assert content(store.path) == content(pack(Folder(str(folder)), store.packing, out=tmp_path / "calm.store").path)


def test_what_a_living_packer_is_making_is_not_cleared_away(folder):
    living = slowly(folder, "", 0.1)
    wait_for(lambda: left_behind(cache()) or living.poll())
    pack(Folder(str(folder)), Packing(size=16))
    assert len(left_behind(cache())) == 1
    told, path = living.communicate(timeout=60)[0].split()
    assert told == "20"
    assert len(Store.open(path)) == 20


def test_interrupted_packing_leaves_nothing(folder, tmp_path):
    def stop(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(Folder(str(folder)), out=tmp_path / "x.store", progress=stop)
    assert not (tmp_path / "x.store").exists()
    assert not left_behind(tmp_path)
    assert len(pack(Folder(str(folder)), out=tmp_path / "x.store")) == 20


def test_importing_store_and_sources_imports_nothing_heavy():
    heavy = ("torch", "torchvision", "datasets", "pyarrow", "sklearn")
    code = f"import sys, selfsight.store, selfsight.sources; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
