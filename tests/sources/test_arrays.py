"""Arrays on disk and in memory: layouts, number types, names of keys, and that nothing in a file is executed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from selfsight.errors import UserError
from selfsight.sources import Arrays, InMemory

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)


def pixels(source) -> np.ndarray:
    return np.stack([np.asarray(item.read()) for item in source.open()])


def listed(source) -> list[tuple]:
    return [(item.name, item.label, item.split) for item in source.open()]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (GRAY, GRAY),
        (GRAY[..., None], GRAY),
        (GRAY[:, None], GRAY),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, 3, 1), COLOUR),
        (COLOUR[:, :3, :, :], COLOUR[:, :3, :, :]),  # (12, 3, 5, 3): the channels are last
    ],
)
def test_layouts(given, seen, tmp_path):
    np.save(tmp_path / "a.npy", given)
    assert np.array_equal(pixels(InMemory(given)), seen)
    assert np.array_equal(pixels(Arrays(str(tmp_path / "a.npy"))), seen)


def test_four_channels_are_red_green_blue_alpha():
    item = InMemory(np.zeros((2, 6, 5, 4), dtype=np.uint8)).open()[0]
    assert item.read().mode == "RGBA"


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.array([0, 1, 255], dtype=np.uint8), [0, 1, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 7, 255], dtype=np.int64), [0, 7, 255]),
        (np.array([0, 257, 25700], dtype=np.uint16), [0, 1, 100]),
        (np.array([0, 0.2, 1], dtype=np.float32), [0, 51, 255]),
        (np.array([0, 2, 254.6], dtype=np.float64), [0, 2, 255]),
        (np.array([-1, 0, 1], dtype=np.float32), [0, 128, 255]),
        (np.array([-100, -60, 100], dtype=np.int16), [0, 51, 255]),
        (np.array([np.nan, 0.2, np.inf], dtype=np.float32), [0, 51, 255]),
        (np.array([5000.0, 5000.0, 5000.0]), [0, 0, 0]),
    ],
)
def test_numbers_become_eight_bits(values, seen):
    images = np.broadcast_to(values[:, None], (2, 3, 4))
    assert pixels(InMemory(images))[1, :, 0].tolist() == seen


def test_one_scale_for_the_whole_stack():
    images = np.stack([np.full((4, 4), 0.1, dtype=np.float32), np.full((4, 4), 3.0, dtype=np.float32)]) - 0.5
    images[0, 0, 0] = -0.5
    seen = pixels(InMemory(images))
    assert seen[0, 1, 1] < 20
    assert (seen[1] == 255).all()


def test_labels_and_splits_in_memory():
    source = InMemory(GRAY[:4], labels=np.array([3, 0, -1, 3]), splits=["train", "test", "train", None])
    assert listed(source) == [("0", "3", "train"), ("1", "0", "val"), ("2", None, "train"), ("3", "3", None)]
    assert listed(InMemory(GRAY[:2], labels=["cat", None]))[1] == ("1", None, None)
    assert listed(InMemory(GRAY[:2], labels=["a", "b"], splits=["unsup", "train"]))[0] == ("0", None, "unsup")


def test_names_of_even_width_and_stamps_of_the_content():
    items = InMemory(GRAY).open()
    assert [item.name for item in items] == sorted(item.name for item in items)
    other = GRAY.copy()
    other[3] += 1
    changed = [a.stamp != b.stamp for a, b in zip(items, InMemory(other).open(), strict=True)]
    assert [place for place, is_so in enumerate(changed) if is_so] == [3]


def test_memory_does_not_print_its_images():
    assert len(repr(InMemory(COLOUR, labels=["x"] * 12))) < 60


def test_npz_with_labels_and_splits(tmp_path):
    np.savez(
        tmp_path / "a.npz", images=GRAY[:3], labels=np.array(["x", "y", "x"]), splits=np.array(["train", "val", ""])
    )
    assert listed(Arrays(str(tmp_path / "a.npz"))) == [("0", "x", "train"), ("1", "y", "val"), ("2", "x", None)]


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_as_keras_and_medmnist_write_it(tmp_path, names):
    arrays = (GRAY[:2], np.array([[1], [0]]), GRAY[2:4], np.array([[0], [1]]))
    np.savez(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True)))
    source = Arrays(str(tmp_path / "a.npz"))
    assert listed(source) == [
        ("test/0", "0", "val"),
        ("test/1", "1", "val"),
        ("train/0", "1", "train"),
        ("train/1", "0", "train"),
    ]
    assert np.array_equal(pixels(source), GRAY[[2, 3, 0, 1]])


def test_npz_of_one_array_needs_no_name(tmp_path):
    np.savez(tmp_path / "a.npz", GRAY)
    assert np.array_equal(pixels(Arrays(str(tmp_path / "a.npz"))), GRAY)


def test_a_changed_file_has_other_stamps(tmp_path):
    np.save(tmp_path / "a.npy", GRAY)
    first = Arrays(str(tmp_path / "a.npy")).open()[0].stamp
    assert Arrays(str(tmp_path / "a.npy")).open()[0].stamp == first
    np.save(tmp_path / "a.npy", COLOUR)
    assert Arrays(str(tmp_path / "a.npy")).open()[0].stamp != first


def test_a_npy_file_is_mapped_and_not_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", GRAY)
    load, seen = np.load, []
    monkeypatch.setattr(np, "load", lambda *a, **k: seen.append(load(*a, **k)) or seen[-1])
    Arrays(str(tmp_path / "a.npy")).open()
    assert isinstance(seen[0], np.memmap)


@pytest.mark.parametrize("form", ["tensor", "dictionary", "pair"])
def test_torch_files(tmp_path, form):
    torch = pytest.importorskip("torch")
    images, labels = torch.from_numpy(np.moveaxis(COLOUR, 3, 1).copy()), torch.arange(12) % 3
    value = {"tensor": images, "dictionary": {"images": images, "labels": labels}, "pair": (images, labels)}[form]
    torch.save(value, tmp_path / "a.pt")
    source = Arrays(str(tmp_path / "a.pt"))
    assert np.array_equal(pixels(source), COLOUR)
    assert source.open()[5].label == (None if form == "tensor" else "2")


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    save_file({"train_images": COLOUR, "train_labels": np.arange(12)}, tmp_path / "a.safetensors")
    source = Arrays(str(tmp_path / "a.safetensors"))
    assert listed(source)[11] == ("train/11", "11", "train")
    assert np.array_equal(pixels(source), COLOUR)


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self):
        return open, (self.place, "w")


@pytest.mark.parametrize("ending", ["npy", "npz", "pt"])
def test_nothing_in_a_file_is_executed(tmp_path, ending):
    bomb, path = Bomb(str(tmp_path / "exploded")), tmp_path / f"a.{ending}"
    if ending == "npy":
        np.save(path, np.array([bomb], dtype=object), allow_pickle=True)
    elif ending == "npz":
        np.savez(path, images=np.array([bomb], dtype=object))
    else:
        path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(UserError, match="cannot be read as plain arrays"):
        Arrays(str(path)).open()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("ending", ["npy", "npz", "pt", "safetensors"])
def test_damaged_files(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"\x93NUMPY\1\0 damaged beyond all hope")
    with pytest.raises(UserError, match=f"a.{ending} cannot be read as plain arrays: ."):
        Arrays(str(path)).open()


@pytest.mark.parametrize(
    ("images", "settings", "told"),
    [
        (np.zeros((4, 5), np.uint8), {}, r"has the shape \(4, 5\)"),
        (np.zeros((4, 7, 6, 5), np.uint8), {}, r"C 1, 3 or 4"),
        (np.zeros((0, 6, 5), np.uint8), {}, r"is empty"),
        (np.zeros((4, 6, 5), np.complex64), {}, r"type complex64"),
        (GRAY, {"labels": [1, 2]}, r"12 images but 2 labels"),
        (GRAY, {"splits": ["train"]}, r"12 images but 1 splits"),
        (GRAY, {"labels": np.zeros((12, 10))}, r"more than one value per image"),
    ],
)
def test_what_is_wrong_is_told(images, settings, told):
    with pytest.raises(UserError, match=told):
        InMemory(images, **settings).open()


def test_wrong_files(tmp_path):
    np.savez(tmp_path / "a.npz", faces=GRAY, ages=GRAY)
    with pytest.raises(UserError, match=r"holds \['ages', 'faces'\]; name the array of images `images`"):
        Arrays(str(tmp_path / "a.npz")).open()
    with pytest.raises(UserError, match="does not exist"):
        Arrays(str(tmp_path / "no.npy")).open()
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(UserError, match="is no array file"):
        Arrays(str(tmp_path / "a.mat")).open()
