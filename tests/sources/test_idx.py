"""IDX files as they are downloaded, packed or not, and damaged."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from selfsight.errors import UserError
from selfsight.sources import Idx

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(folder, begin: str, images: np.ndarray = IMAGES, labels=(3, 0, 1, 9, 9), packed: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    for kind, values in (("images-idx3", images), ("labels-idx1", np.array(labels, dtype=np.uint8))):
        content = idx(values)
        path = folder / f"{begin}-{kind}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_train_and_t10k(tmp_path, packed):
    write(tmp_path, "train", packed=packed)
    write(tmp_path, "t10k", IMAGES[:2], (7, 8), packed)
    items = Idx(str(tmp_path)).open()
    assert [(item.name, item.label, item.split) for item in items[:3]] == [
        ("train/0", "3", "train"),
        ("train/1", "0", "train"),
        ("train/2", "1", "train"),
    ]
    assert [(item.name, item.label, item.split) for item in items[5:]] == [("val/0", "7", "val"), ("val/1", "8", "val")]
    assert np.array_equal(np.stack([np.asarray(item.read()) for item in items[:5]]), IMAGES)
    assert items[0].read().mode == "L"


def test_packed_beside_unpacked_is_read_once_and_names_with_a_dot(tmp_path):
    write(tmp_path, "train")
    write(tmp_path, "train", packed=True)
    assert len(Idx(str(tmp_path)).open()) == 5
    dotted = tmp_path / "dotted"
    dotted.mkdir()
    (dotted / "train-images.idx3-ubyte").write_bytes(idx(IMAGES))
    (dotted / "train-labels.idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    assert [item.label for item in Idx(str(dotted)).open()] == list("01234")


def test_several_sets_in_a_folder_need_the_beginning_of_their_names(tmp_path):
    write(tmp_path, "emnist-letters-train")
    write(tmp_path, "emnist-letters-test", IMAGES[:1], (1,))
    write(tmp_path, "emnist-digits-train")
    with pytest.raises(UserError, match=r"both 'train'.*Give the beginning of the names of one set"):
        Idx(str(tmp_path)).open()
    assert [item.split for item in Idx(str(tmp_path / "emnist-letters")).open()] == ["train"] * 5 + ["val"]


def test_without_labels_and_without_a_split(tmp_path):
    (tmp_path / "scans-images-idx3-ubyte").write_bytes(idx(IMAGES))
    assert {(item.label, item.split) for item in Idx(str(tmp_path)).open()} == {(None, None)}


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no IDX images"):
        Idx(str(tmp_path)).open()
    with pytest.raises(UserError, match="holds no IDX images"):
        Idx(str(tmp_path / "nowhere")).open()
    write(tmp_path, "train", labels=(1, 2))
    with pytest.raises(UserError, match="5 images but 2 labels"):
        Idx(str(tmp_path)).open()
    for content, told in (
        (idx(IMAGES)[:-7], "It is damaged"),
        (b"<html>not found</html>", "is no IDX file"),
        (idx(IMAGES[0]), "has 2 dimensions"),
    ):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(UserError, match=told):
            Idx(str(tmp_path)).open()
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES))[:30])
    with pytest.raises(UserError, match="cannot be unpacked"):
        Idx(str(tmp_path)).open()
