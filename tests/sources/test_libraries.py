"""Data sets that other libraries keep: torchvision's by name, Hugging Face's on disk. Nothing is downloaded here."""

from __future__ import annotations

import gzip
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from selfsight.errors import UserError
from selfsight.sources import HuggingFace, TorchvisionSet
from selfsight.store import pack

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)


@pytest.fixture
def mnist(tmp_path):
    """What torchvision downloads for FashionMNIST, with six images."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for begin, count in (("train", 6), ("t10k", 2)):
        for kind, values in (("images-idx3", IMAGES[:count]), ("labels-idx1", np.arange(count, dtype=np.uint8))):
            content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
            (raw / f"{begin}-{kind}-ubyte").write_bytes(content)
            (raw / f"{begin}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return str(tmp_path)


def test_a_set_that_is_divided_by_train(mnist):
    items = TorchvisionSet("FashionMNIST", root=mnist).open()
    assert [(item.name, item.label, item.split) for item in items[:2]] == [
        ("train/0", "T-shirt/top", "train"),
        ("train/1", "Trouser", "train"),
    ]
    assert [(item.name, item.split) for item in items[6:]] == [("val/0", "val"), ("val/1", "val")]
    assert np.array_equal(np.stack([np.asarray(item.read()) for item in items[:6]]), IMAGES)
    assert [item.stamp for item in items[:2]] == [item.stamp for item in items[6:]]  # the same content


def test_a_set_that_is_not_divided_and_of_files(tmp_path):
    for name in ("Forest", "River"):
        (tmp_path / "eurosat" / "2750" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(
                tmp_path / "eurosat" / "2750" / name / f"{number}.png"
            )
    source = TorchvisionSet("EuroSAT", root=str(tmp_path))
    items = source.open()
    assert [(item.name, item.label, item.split) for item in items] == [
        ("0", "Forest", None),
        ("1", "Forest", None),
        ("2", "River", None),
        ("3", "River", None),
    ]
    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(tmp_path / "eurosat" / "2750" / "River" / "0.png")
    assert [a.stamp == b.stamp for a, b in zip(items, source.open(), strict=True)] == [True, True, False, True]


def test_a_set_that_is_divided_by_split(tmp_path):
    for split in ("train", "val"):
        for wordnet in ("n01440764", "n02102040"):
            (tmp_path / "imagenette2" / split / wordnet).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "imagenette2" / split / wordnet / "1.JPEG")
    items = TorchvisionSet("Imagenette", root=str(tmp_path)).open()
    assert [(item.name, item.label, item.split) for item in items] == [
        ("train/0", "tench", "train"),
        ("train/1", "English springer", "train"),
        ("val/0", "tench", "val"),
        ("val/1", "English springer", "val"),
    ]


def test_a_set_without_a_root_or_a_list_of_classes():
    items = TorchvisionSet("FakeData").open()
    assert len(items) == 1000
    assert items[3].label is None
    assert items[3].read().size == (224, 224)


def test_what_torchvision_does_not_have_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no data set 'CIFAR1O' \(did you mean 'CIFAR10'\?\)"):
        TorchvisionSet("CIFAR1O").open()
    with pytest.raises(UserError, match=r"CIFAR10 could not be opened in .*not found.*or set download=True"):
        TorchvisionSet("CIFAR10", root=str(tmp_path)).open()
    with pytest.raises(UserError, match="cannot be opened by name alone"):
        TorchvisionSet("CocoDetection", root=str(tmp_path)).open()


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def table(datasets, classes=("cat", "dog")):
    pictures = [Image.fromarray(image) for image in IMAGES]
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=list(classes))})
    return datasets.Dataset.from_dict({"image": pictures, "kind": [0, 1, 1, -1, 0, 1]}, features=features)


def test_one_saved_set(datasets, tmp_path):
    table(datasets).save_to_disk(tmp_path / "saved")
    items = HuggingFace(str(tmp_path / "saved")).open()
    assert [item.label for item in items] == ["cat", "dog", "dog", None, "cat", "dog"]
    assert {item.split for item in items} == {None}
    store = pack(HuggingFace(str(tmp_path / "saved")), out=tmp_path / "x.store")
    assert store.names == [item.name for item in items]
    assert isinstance(items[0].read(), bytes)


def test_a_dictionary_of_saved_sets(datasets, tmp_path):
    whole = table(datasets)
    parts = {"train": whole.select(range(4)), "test": whole.select([5]), "unsupervised": whole.select([4])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    items = HuggingFace(str(tmp_path / "saved")).open()
    assert [(item.name, item.label, item.split) for item in items[:1] + items[-1:]] == [
        ("test/0", "dog", "val"),
        ("unsupervised/0", None, "unsup"),
    ]
    assert sum(item.split == "train" for item in items) == 4


def test_columns_are_found_or_asked_for(datasets, tmp_path):
    whole = table(datasets)
    whole.remove_columns("kind").add_column("label", ["a", "b", "a", None, "b", "a"]).save_to_disk(tmp_path / "text")
    assert [item.label for item in HuggingFace(str(tmp_path / "text")).open()] == ["a", "b", "a", None, "b", "a"]
    whole.add_column("kinds", [1, 2, 3, 4, 5, 6]).save_to_disk(tmp_path / "two")
    chosen = HuggingFace(str(tmp_path / "two"), image_column="image", label_column="kinds").open()
    assert [item.label for item in chosen] == list("123456")
    for settings, told in (
        ({"image_column": "img"}, r"no column 'img'.*it has image, kind, kinds"),
        ({"label_column": "kin"}, r"no column 'kin' \(did you mean 'kind'\?\)"),
    ):
        with pytest.raises(UserError, match=told):
            HuggingFace(str(tmp_path / "two"), **settings).open()
    whole.remove_columns("image").save_to_disk(tmp_path / "blind")
    with pytest.raises(UserError, match="no column of images; it has kind"):
        HuggingFace(str(tmp_path / "blind")).open()


def test_what_is_no_saved_set_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is no folder"):
        HuggingFace(str(tmp_path / "nowhere")).open()
    with pytest.raises(UserError, match="is no data set that was saved to disk"):
        HuggingFace(str(tmp_path)).open()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'selfsight\[huggingface\]'"):
        HuggingFace(str(tmp_path)).open()
