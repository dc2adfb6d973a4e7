"""Scenes as a source: listed, read, labelled with their number of objects; from drawn shapes or from published ones."""

from __future__ import annotations

import numpy as np
import pytest

from selfsight.errors import UserError
from selfsight.sources import Scenes, guess


def test_they_are_listed_and_read():
    source = Scenes(count=10, side=32, seed=3)
    items = source.open()
    assert [item.split for item in items] == ["train"] * 8 + ["val"] * 2
    assert len({item.stamp for item in items}) == 10
    assert items[4].stamp != Scenes(count=10, side=32, seed=4).open()[4].stamp
    made = source.scene(4)
    assert np.array_equal(np.asarray(items[4].read()), made.image)
    assert items[4].label == f"{made.objects} objects"


def test_they_are_named_on_the_command_line():
    assert guess("scenes:12") == Scenes(count=12)
    with pytest.raises(UserError, match="a number of scenes"):
        guess("scenes:many")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 1}, "at least 2"),
        ({"side": 8}, "at least 16"),
        ({"objects": (3, 2)}, "1 to 6"),
        ({"shading": 2}, "in \\[0, 1\\]"),
    ],
)
def test_settings_that_cannot_be(given, said):
    with pytest.raises(ValueError, match=said):
        Scenes(**given)


@pytest.mark.parametrize(("name", "kept"), [("imgs", 3), ("x_train", 80)])
def test_published_sprites_are_taken_where_there_are_any(tmp_path, name, kept):
    """Bars of ever larger width stand for sprites: what is composed has their shapes."""
    from selfsight.sources.scenes import shapes

    bars = np.zeros((80, 64, 64), np.uint8)
    for number in range(80):
        bars[number, 20:30, 10 : 20 + number // 2] = 1
    np.savez_compressed(tmp_path / "sprites.npz", **{name: bars})
    assert shapes(str(tmp_path / "sprites.npz")).shape == (kept, 64, 64)
    source = Scenes(count=4, objects=(1, 1), sprites=str(tmp_path / "sprites.npz"))
    assert source.open()[0].label == "1 objects"
    rows = np.nonzero(source.scene(0).owner)[0]
    assert (rows.min(), rows.max()) == (20, 29)
    assert np.nonzero(Scenes(count=4, side=32, objects=(1, 1), sprites=source.sprites).scene(0).owner)[0].max() == 14


def test_sprites_that_are_none(tmp_path):
    np.savez(tmp_path / "other.npz", pictures=np.zeros((2, 64, 64), np.uint8))
    np.savez(tmp_path / "wide.npz", imgs=np.zeros((2, 64, 64), np.float32))
    (tmp_path / "text.npz").write_text("no archive")
    for name, said in (
        ("none", "no sprites at"),
        ("other", "expected imgs"),
        ("wide", "one byte"),
        ("text", "cannot be read"),
    ):
        with pytest.raises(UserError, match=said):
            Scenes(sprites=str(tmp_path / f"{name}.npz")).open()
