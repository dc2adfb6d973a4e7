"""Which layout a folder is, and that nothing in it is lost in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from selfsight.errors import UserError
from selfsight.sources import Folder
from selfsight.sources.file import EXTENSIONS


@pytest.fixture
def tree(tmp_path):
    def plant(*names: str) -> Path:
        for name in names:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        return tmp_path / "root"

    return plant


def listed(root: Path, **settings) -> dict[str, tuple[str | None, str | None]]:
    return {item.name: (item.split, item.label) for item in Folder(str(root), **settings).open()}


def test_any_depth_by_name_whatever_the_case_of_the_ending(tree):
    root = tree("z.JPG", "a/b/c/d.PnG", "a.webp", "a/notes.txt", "a/b/noending")
    items = Folder(str(root)).open()
    assert [item.name for item in items] == ["a.webp", "a/b/c/d.PnG", "z.JPG"]
    assert [item.read() for item in items] == [b"a.webp", b"a/b/c/d.PnG", b"z.JPG"]
    assert {(item.split, item.label) for item in items} == {(None, None)}


def test_every_usual_ending_is_listed(tree):
    usual = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "avif", "jp2", "heic"]
    assert {f".{ending}" for ending in usual} <= EXTENSIONS
    assert len(listed(tree(*(f"{ending}.{ending}" for ending in usual)))) == len(usual)


def test_class_folders(tree):
    assert listed(tree("cat/1.png", "cat/2.png", "dog/1.png")) == {
        "cat/1.png": (None, "cat"),
        "cat/2.png": (None, "cat"),
        "dog/1.png": (None, "dog"),
    }


@pytest.mark.parametrize(
    "names",
    [
        ("cat/1.png",),  # one folder is no classification
        ("cat/1.png", "dog/1.png", "loose.png"),
        ("cat/1.png", "dog/puppies/1.png"),
        ("2019/05/1.png", "2020/06/1.png"),
        ("test/1.png", "holiday/deep/1.png"),
    ],
)
def test_everything_else_is_unlabelled(tree, names):
    assert set(listed(tree(*names)).values()) == {(None, None)}


def test_imagewang_layout_with_a_subset_in_val(tree):
    root = tree("train/a/1.png", "train/b/1.png", "train/c/deep/1.png", "val/b/9.png", "val/c/9.png", "unsup/7.png")
    assert listed(root) == {
        "train/a/1.png": ("train", "a"),
        "train/b/1.png": ("train", "b"),
        "train/c/deep/1.png": ("train", "c"),
        "val/b/9.png": ("val", "b"),
        "val/c/9.png": ("val", "c"),
        "unsup/7.png": ("unsup", None),
    }


def test_a_val_of_one_class_of_train_is_labelled_and_a_folder_that_is_no_class_is_not(tree):
    root = tree("train/a/1.png", "train/b/1.png", "val/b/1.png")
    assert listed(root)["val/b/1.png"] == ("val", "b")
    (root / "val" / "b").rename(root / "val" / "images")
    assert listed(root)["val/images/1.png"] == ("val", None)


@pytest.mark.parametrize(
    ("name", "split"),
    [("Training", "train"), ("valid", "val"), ("validation", "val"), ("TEST", "val"), ("unlabeled", "unsup")],
)
def test_other_names_of_splits(tree, name, split):
    root = tree(f"{name}/1.png", "train/2.png")
    assert listed(root) == {f"{name}/1.png": (split, None), "train/2.png": ("train", None)}


def test_unsup_is_never_labelled_even_in_class_folders(tree):
    root = tree("train/a/1.png", "train/b/1.png", "unsup/a/1.png", "unsup/b/1.png")
    for labels in ("auto", "parent"):
        assert listed(root, labels=labels)["unsup/a/1.png"] == ("unsup", None)


def test_other_folders_beside_train_and_val_are_kept_without_split_and_label(tree):
    root = tree("train/a/1.png", "train/b/1.png", "val/a/1.png", "extra/a/1.png", "loose.png")
    assert listed(root)["extra/a/1.png"] == (None, None)
    assert listed(root)["loose.png"] == (None, None)
    assert listed(root)["val/a/1.png"] == ("val", "a")


def test_labels_none_keeps_splits_and_parent_labels_any_depth(tree):
    root = tree("train/x/a/1.png", "train/x/b/1.png", "val/x/a/1.png")
    assert listed(root, labels="none")["train/x/a/1.png"] == ("train", None)
    assert listed(root, labels="parent") == {
        "train/x/a/1.png": ("train", "a"),
        "train/x/b/1.png": ("train", "b"),
        "val/x/a/1.png": ("val", "a"),
    }
    with pytest.raises(UserError, match="labels='folder' is unknown"):
        Folder(str(root), labels="folder").open()  # type: ignore[arg-type]


def test_hidden_files_and_folders_are_not_looked_at(tree):
    root = tree("a.png", ".b.png", ".git/c.png", "x/.cache/d.png", "__MACOSX/e.png")
    assert list(listed(root)) == ["a.png"]


def test_links_are_followed_once_round_a_loop(tree, tmp_path):
    root = tree("a/1.png")
    (root / "a" / "again").symlink_to(root)
    (root / "b").symlink_to(root / "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.png").write_bytes(b"o")
    (root / "link").symlink_to(outside)
    assert list(listed(root)) == ["a/1.png", "b/1.png", "link/o.png"]


def test_a_dead_link_is_listed_and_a_pipe_is_not(tree):
    root = tree("a.png")
    (root / "dead.png").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.png")
    (root / "link.png").symlink_to(root / "pipe.png")
    items = {item.name: item for item in Folder(str(root)).open()}
    assert list(items) == ["a.png", "dead.png"]
    with pytest.raises(FileNotFoundError):
        items["dead.png"].read()
    before = items["dead.png"].stamp
    (root / "nowhere").write_bytes(b"here now")
    assert {item.name: item for item in Folder(str(root)).open()}["dead.png"].stamp != before


def test_a_folder_that_cannot_be_listed_is_an_item_that_cannot_be_read(tree, monkeypatch):
    root = tree("cat/1.png", "dog/1.png", "shut/1.png")
    scan = os.scandir

    def guarded(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    items = {item.name: item for item in Folder(str(root)).open()}
    assert [(name, item.label) for name, item in items.items()] == [
        ("cat/1.png", "cat"),
        ("dog/1.png", "dog"),
        ("shut/", None),
    ]
    with pytest.raises(PermissionError):
        items["shut/"].read()


def test_a_name_that_is_no_text_becomes_one(tree):
    root = tree("a.png")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.png")).write_bytes(b"x")
    items = Folder(str(root)).open()
    assert [item.name for item in items] == ["\\xff.png", "a.png"]
    assert items[0].read() == b"x"
    items[0].name.encode("utf-8")


def test_stamp_changes_with_the_content(tree):
    root = tree("a.png", "b.png")
    first = {item.name: item.stamp for item in Folder(str(root)).open()}
    assert first == {item.name: item.stamp for item in Folder(str(root)).open()}
    (root / "a.png").write_bytes(b"other")
    second = {item.name: item.stamp for item in Folder(str(root)).open()}
    assert second["a.png"] != first["a.png"]
    assert second["b.png"] == first["b.png"]


def test_what_is_given_wrongly_is_told(tree, tmp_path):
    root = tree("notes.txt", "deep/table.csv")
    with pytest.raises(UserError, match=r"holds no image file \(2 files of other kinds\)"):
        Folder(str(root)).open()
    with pytest.raises(UserError, match="does not exist"):
        Folder(str(tmp_path / "nowhere")).open()
    with pytest.raises(UserError, match="is a file, not a folder"):
        Folder(str(root / "notes.txt")).open()


def test_home_is_expanded(tree, monkeypatch):
    root = tree("a.png")
    monkeypatch.setenv("HOME", str(root.parent))
    assert list(listed(Path("~/root"))) == ["a.png"]
