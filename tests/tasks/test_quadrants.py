"""Each quadrant shows its own part of the picture, turned as the answer says."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.tasks import Quadrants

WHOLE = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def example_of(task, images):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator("quadrants")))


def test_turned_back_the_quadrants_are_the_picture():
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=generator("pixels"), dtype=torch.uint8)
    example = example_of(Quadrants(views=WHOLE, gap=0.0), images)
    for image, shown, turns in zip(images, example.inputs[:, 0], example.answer, strict=True):
        for place, turn in enumerate(turns):
            rows, columns = (slice(16 * at, 16 * at + 16) for at in divmod(place, 2))
            back = torch.rot90(shown[:, rows, columns], -int(turn), (-2, -1))
            assert torch.allclose(back, image[:, rows, columns] / 255, atol=1e-5)


def test_every_turn_stands_equally_often_in_every_quadrant_and_quadrants_are_independent():
    images = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
    turns = example_of(Quadrants(), images).answer
    assert all(turns[:, place].bincount().tolist() == [100] * 4 for place in range(4))
    pairs = (4 * turns[:, 0] + turns[:, 1]).bincount(minlength=16)
    assert pairs.min() > 8
    assert pairs.max() < 45


def test_a_gap_lies_between_quadrants_whatever_is_shown():
    images = torch.zeros(6, 3, 64, 64, dtype=torch.uint8)
    shown = example_of(Quadrants(gap=0.25), images).inputs
    for middle in (shown[..., 30:34, :], shown[..., 30:34]):
        assert (middle == 0.5).all()


def test_the_upper_edge_points_where_the_caption_says():
    """White upper edges: after its turn, the side that the caption names is the bright one."""
    images = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    images[:, :, :8], images[:, :, 16:24] = 255, 255
    task = Quadrants(views=WHOLE, gap=0.0)
    example = example_of(task, images)
    for i in range(8):
        said = task.caption(example, i).removeprefix("tops: ").replace("/ ", "").split(" ")
        for place, word in enumerate(said):
            row, column = (16 * at for at in divmod(place, 2))
            box = example.inputs[i, 0, 0, row : row + 16, column : column + 16]
            halves = {"up": box[:8], "left": box[:, :8], "down": box[8:], "right": box[:, 8:]}
            assert max(halves, key=lambda side: float(halves[side].mean())) == word


def test_a_gap_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 0.5\], not 0.7"):
        Quadrants(gap=0.7)
