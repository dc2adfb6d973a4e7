"""Tables of image files: columns, paths, labels and splits, and what is said of a table that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selfsight.errors import UserError
from selfsight.sources import Manifest


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / "images" / name).write_bytes(name.encode())

    def write(text: str, name: str = "list.csv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def listed(source: Manifest) -> list[tuple]:
    return [(item.name, item.label, item.split) for item in source.open()]


ROWS = "path,label,split\nimages/2.png,dog,test\nimages/1.png,cat,train\nimages/3.png,cat,unsup\n"


@pytest.mark.parametrize(
    ("name", "mark"), [("list.csv", ","), ("list.csv", ";"), ("list.tsv", "\t"), ("LIST.CSV", ",")]
)
def test_rows_with_labels_and_splits(table, name, mark):
    source = Manifest(table("\ufeff" + ROWS.replace(",", mark), name))
    assert listed(source) == [
        ("images/1.png", "cat", "train"),
        ("images/2.png", "dog", "val"),
        ("images/3.png", None, "unsup"),
    ]
    assert [item.read() for item in source.open()] == [b"1.png", b"2.png", b"3.png"]


def test_columns_of_other_names_and_a_root(table, tmp_path):
    path = table("file,kind\n1.png,cat\n2.png,\n")
    source = Manifest(path, image_column="file", label_column="kind", root=str(tmp_path / "images"))
    assert listed(source) == [("1.png", "cat", None), ("2.png", None, None)]
    assert source.open()[1].read() == b"2.png"


def test_absolute_paths_and_paths_that_come_again(table, tmp_path):
    absolute = (tmp_path / "images" / "1.png").as_posix()
    source = Manifest(table(f"path\n{absolute}\nimages/2.png\nimages/2.png\n"))
    assert [item.name for item in source.open()] == sorted([absolute, "images/2.png", "images/2.png#3"])
    assert all(item.read() for item in source.open())


def test_quoted_cells_may_hold_commas_and_line_breaks(table):
    assert listed(Manifest(table('path,label\nimages/1.png,"cat, tabby"\nimages/2.png,"dog\nbig"\n'))) == [
        ("images/1.png", "cat, tabby", None),
        ("images/2.png", "dog\nbig", None),
    ]


def test_a_missing_image_is_listed_and_fails_when_read(table):
    item = Manifest(table("path\nimages/no.png\n")).open()[0]
    with pytest.raises(FileNotFoundError):
        item.read()


@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        ("paths\na.png\n", {}, r"no column 'path' \(did you mean 'paths'\?\); it has 'paths'. Set image_column"),
        ("path,labels\na.png,x\n", {}, r"no column 'label' \(did you mean 'labels'\?\).*Set label_column"),
        ("path,Split\na.png,train\n", {}, r"no column 'split' \(did you mean 'Split'\?\).*Set split_column"),
        ("path\na.png\n", {"label_column": "kind"}, r"no column 'kind'"),
        ("path,split\na.png,middle\n", {}, r"row 1 has 'middle' in its column 'split'"),
        ("path,label\n,cat\n", {}, r"row 1 has nothing in its column 'path'"),
        ("path,label\na.png,cat,extra\n", {}, r"row 1 has 3 cells, the header 2"),
        ("images/1.png,cat\nimages/2.png,dog\n", {}, r"has no header: its first row is 'images/1.png, cat'"),
        ("path,label\n", {}, r"holds a header and no rows"),
        ("", {}, r"is empty"),
    ],
)
def test_what_is_wrong_is_told(table, text, settings, told):
    with pytest.raises(UserError, match=told):
        Manifest(table(text), **settings).open()


def test_labels_and_splits_can_be_left_out(table):
    path = table(ROWS)
    assert {label for _, label, _ in listed(Manifest(path, label_column=None))} == {None}
    assert {split for _, _, split in listed(Manifest(path, split_column=None))} == {None}


def test_no_table(table, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Manifest(str(tmp_path / "no.csv")).open()
    with pytest.raises(UserError, match="is no table that can be read"):
        Manifest(table("x", "list.xlsx")).open()
    (tmp_path / "latin.csv").write_bytes("path,label\na.png,Käse\n".encode("latin-1"))
    with pytest.raises(UserError, match="Save it as UTF-8"):
        Manifest(str(tmp_path / "latin.csv")).open()
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        Manifest(table("path\n", "list.parquet")).open()


def parquet(path: Path, columns: dict) -> str:
    tables, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    files.write_table(tables.table(columns), path)
    return str(path)


def test_parquet_of_paths_with_numbers_for_labels(table, tmp_path):
    columns = {"path": ["images/2.png", "images/1.png"], "label": [3, None], "split": ["val", None], "big": [b"", b""]}
    source = Manifest(parquet(tmp_path / "list.parquet", columns))
    assert listed(source) == [("images/1.png", None, None), ("images/2.png", "3", "val")]
    with pytest.raises(UserError, match="it has 'path', 'label', 'split', 'big'"):
        Manifest(source.path, image_column="image").open()


@pytest.mark.parametrize("cells", [[b"one", b"two"], [{"bytes": b"one", "path": "x"}, {"bytes": b"two", "path": None}]])
def test_parquet_of_the_files_themselves(tmp_path, cells):
    source = Manifest(parquet(tmp_path / "list.parquet", {"image": cells, "label": ["a", "b"]}), image_column="image")
    assert listed(source) == [("0", "a", None), ("1", "b", None)]
    assert [item.read() for item in source.open()] == [b"one", b"two"]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "list.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'selfsight\[parquet\]'"):
        Manifest(str(tmp_path / "list.parquet")).open()
