"""A folder and its store together: odd files beside good ones, splits and classes, duplicates, gray and colour."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfsight.errors import UserError
from selfsight.sources import Folder
from selfsight.store import Packing, Store, pack


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


def test_the_folder_of_the_promise_packs_and_lists_exactly_the_bad_ones(tmp_path):
    photos = tmp_path / "photos"
    for number in range(30):
        save(photos / f"good{number:03}.jpg", encoded(noise(60, 40, number), "JPEG"))
    save(photos / "text.jpg", b"dear diary")
    save(photos / "cut.png", encoded(noise(60, 40))[:2000])
    save(photos / "cut.jpg", encoded(noise(60, 40), "JPEG")[:900])
    save(photos / "dot.png", Image.new("RGB", (1, 1)))
    save(photos / "empty.webp", b"")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    sixteen = Image.fromarray(np.full((40, 60), 25700, dtype=np.uint16))
    save(photos / "sixteen.tif", encoded(sixteen, "TIFF"))
    save(photos / "glass.png", Image.new("RGBA", (60, 40), (0, 0, 0, 0)))
    save(photos / "ink.jpg", encoded(Image.new("RGB", (60, 40), (200, 30, 30)).convert("CMYK"), "JPEG"))
    save(photos / "big.jpg", encoded(Image.new("RGB", (5200, 4000), (10, 90, 200)), "JPEG"))
    store = pack(Folder(str(photos)), Packing(size=16))
    assert store.skipped == [
        ("cut.jpg", "truncated: the file ends before the picture does"),
        ("cut.png", "truncated: the file ends before the picture does"),
        ("dot.png", "1x1 pixels: the shorter side has fewer than 4"),
        ("empty.webp", "empty file"),
        ("gone.png", "no such file"),
        ("text.jpg", "not an image (of no format that is known here)"),
    ]
    with open(store.path / "skipped.csv", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("name", "reason"), *store.skipped]
    assert len(store) == 34
    assert store.images.shape == (34, 16, 16, 3)

    def look(name):
        return store.images[store.names.index(name)].reshape(-1, 3).mean(axis=0)

    assert look("sixteen.tif") == pytest.approx([100, 100, 100])
    assert look("glass.png") == pytest.approx([255, 255, 255])
    assert look("ink.jpg") == pytest.approx([200, 30, 30], abs=4)
    assert look("big.jpg") == pytest.approx([10, 90, 200], abs=4)
    assert store.sizes[store.names.index("big.jpg")].tolist() == [5200, 4000]


@pytest.mark.parametrize("first_colour", [None, 0, 5, 9])
def test_channels_are_one_exactly_where_all_is_gray(tmp_path, first_colour):
    for number in range(10):
        mode = "RGB" if number == first_colour else "L"
        save(tmp_path / "photos" / f"{number}.png", plain(20 * number, mode))
    store = pack(Folder(str(tmp_path / "photos")), Packing(size=8))
    assert store.images.shape[3] == (1 if first_colour is None else 3)
    for number, image in enumerate(store.images):
        seen = [20 * number, 255 - 20 * number, 40] if number == first_colour else [20 * number] * store.images.shape[3]
        assert (image == seen).all()


def test_labels_lie_apart_and_align_by_name_with_a_subset_in_val(tmp_path):
    root = tmp_path / "wang"
    for split, names in (("train", ("ant", "bee", "cat")), ("val", ("cat", "ant"))):
        for number, name in enumerate(names):
            for copy in range(2):
                save(
                    root / split / name / f"{copy}.png", plain(100 + 10 * number + copy + (50 if split == "val" else 0))
                )
    save(root / "unsup" / "u.png", plain(1))
    store = pack(Folder(str(root)), Packing(size=8))
    labels = store.labels()
    assert labels.classes == ("ant", "bee", "cat")
    for name, code in zip(store.names, labels.codes, strict=True):
        assert (None if code < 0 else labels.classes[code]) == (None if "unsup" in name else name.split("/")[1])
    assert {labels.classes[code] for code in labels.codes[store.where("val")]} == {"ant", "cat"}
    assert labels.codes[store.where("unsup")].tolist() == [-1]
    assert [store.names[place] for place in store.where("val", "unsup")] == [
        "unsup/u.png", "val/ant/0.png", "val/ant/1.png", "val/cat/0.png", "val/cat/1.png",
    ]  # fmt: skip
    assert store.where().tolist() == list(range(11))
    assert store.where("").tolist() == []
    with pytest.raises(UserError, match="no split 'vall'"):
        store.where("vall")
    index = (store.path / "index.csv").read_text()
    assert index.splitlines()[0] == "name,split,width,height,hash"
    (store.path / "labels.csv").unlink()
    assert len(Store.open(store.path)) == 11  # opening reads no label


def test_duplicates_inside_and_across_splits(tmp_path):
    for name, value in (("train/a", 1), ("train/b", 2), ("train/c", 1), ("val/d", 3), ("val/e", 4), ("val/f", 4)):
        save(tmp_path / "photos" / f"{name}.png", plain(value))
    save(tmp_path / "photos" / "val" / "g.png", plain(2))
    store = pack(Folder(str(tmp_path / "photos")), Packing(size=8))
    assert [tuple(group) for group in store.duplicates] == [
        (("train/a.png", "train/c.png"), False),
        (("train/b.png", "val/g.png"), True),
        (("val/e.png", "val/f.png"), False),
    ]


def test_odd_names_survive(tmp_path):
    names = ['a "quoted", name.png', "line\nbreak.png", "käse 日本.png"]
    for value, name in enumerate(names):
        save(tmp_path / "photos" / name, plain(value))
    store = pack(Folder(str(tmp_path / "photos")), Packing(size=8))
    assert store.names == sorted(names)
    assert store.labels().codes.tolist() == [-1, -1, -1]
