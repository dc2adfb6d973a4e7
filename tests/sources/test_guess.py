"""Any path a user may give becomes the right source, or a sentence that says what would do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import selfsight.sources
from selfsight.errors import UserError
from selfsight.source import Source
from selfsight.sources import Arrays, Folder, HuggingFace, Idx, InMemory, Manifest, Scenes, TorchvisionSet, guess


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", Manifest),
        ("a.TSV", Manifest),
        ("a.parquet", Manifest),
        ("a.npy", Arrays),
        ("a.npz", Arrays),
        ("a.pt", Arrays),
        ("a.safetensors", Arrays),
    ],
)
def test_files(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"")
    assert guess(str(tmp_path / name)) == kind(str(tmp_path / name))


def test_folders(tmp_path):
    for file, kind in (
        ("photos/cats/1.png", Folder),
        ("digits/train-images-idx3-ubyte.gz", Idx),
        ("saved/dataset_info.json", HuggingFace),
        ("dictionary/dataset_dict.json", HuggingFace),
    ):
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        top = str(tmp_path / file.split("/")[0])
        assert guess(top) == kind(top)
    assert guess(str(tmp_path / "digits" / "train")) == Idx(str(tmp_path / "digits" / "train"))


def test_torchvision_by_name():
    assert guess("torchvision:CIFAR10") == TorchvisionSet("CIFAR10")
    assert guess("torchvision:CIFAR10:/big/disk") == TorchvisionSet("CIFAR10", "/big/disk")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", r"nowhere does not exist\. Give a folder of images, .*\.csv.*\.npy.*torchvision:NAME"),
        ("a.docx", r"of a kind that is not known here\. Give a folder of images"),
        ("a.jpg", r"is a single image\. Give the folder"),
        ("a.zip", r"is an archive\. Unpack it"),
    ],
)
def test_what_is_accepted_is_told(tmp_path, name, told):
    if name != "nowhere":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=told):
        guess(str(tmp_path / name))


FINALS = [
    final
    for final in vars(selfsight.sources).values()
    if isinstance(final, type) and issubclass(final, Source) and final is not Source
]


def _made(final):
    if final is Scenes:
        return final()
    return final(np.zeros((2, 4, 4), dtype=np.uint8)) if final is InMemory else final("somewhere")


@pytest.mark.parametrize("final", FINALS, ids=lambda final: final.__name__)
def test_finals_are_frozen_data(final):
    assert len(FINALS) >= 7
    source = _made(final)
    name = dataclasses.fields(source)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(source, name, "elsewhere")
    if final is not InMemory:
        assert source == _made(final)
        assert eval(repr(source), vars(selfsight.sources)) == source


def test_every_kind_gives_unique_names_and_the_same_twice(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (11, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"photos/{n}.png\n" for n in range(11)))
    sources = [guess(str(tmp_path / name)) for name in ("a.npy", "photos", "list.csv")]
    for source in (*sources, InMemory(images)):
        first, second = source.open(), source.open()
        assert [(i.name, i.stamp, i.label, i.split) for i in first] == [
            (i.name, i.stamp, i.label, i.split) for i in second
        ]
        names = [item.name for item in first]
        assert len(set(names)) == 11
        assert names == sorted(names)
