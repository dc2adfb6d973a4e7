"""Which half came from where can be read off coloured quarters."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.tasks import Split

STILL = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def quarters(side: int) -> torch.Tensor:
    """One image whose quarters are 0, 80, 160, 240: 0 80 above, 160 240 below."""
    image = torch.zeros(1, side, side, dtype=torch.uint8)
    middle = side // 2
    image[:, :middle, middle:], image[:, middle:, :middle], image[:, middle:, middle:] = 80, 160, 240
    return image


@pytest.mark.parametrize("side", [28, 31, 48])
def test_the_answer_is_in_the_picture(side):
    images = quarters(side).expand(64, -1, -1, -1)
    task = Split(views=STILL)
    example = task.prepare(Batch(images, torch.arange(64)), Now(0, 1, generator("cut", side)))
    assert example.inputs.shape == (64, 1, 1, side, side)
    assert example.answer.sum() == 32
    low, high = side // 4, side - 1 - side // 4
    shown = (example.inputs[:, 0, 0] * 255 / 80).round()
    layouts = {0: set(), 1: set()}
    for picture, across in zip(shown, example.answer.tolist(), strict=True):
        left, right = ({int(picture[y, x]) for y in (low, high)} for x in (low, high))
        kept = ({0, 2}, {1, 3}) if not across else ({0, 1}, {2, 3})
        assert (left, right) in (kept, kept[::-1])
        layouts[across].add(tuple(int(picture[y, x]) for y in (low, high) for x in (low, high)))
    assert [len(layouts[across]) for across in (0, 1)] == [8, 8]  # either order, each half either way up


def test_the_cut_is_gray_in_every_picture_and_as_wide_as_asked():
    images = torch.full((8, 3, 50, 50), 255, dtype=torch.uint8)
    for gap, columns in ((0.0, 2), (0.06, 4), (0.2, 10)):
        example = Split(views=STILL, gap=gap).prepare(Batch(images, torch.arange(8)), Now(0, 1, generator("gap")))
        gray = (example.inputs[:, 0] - 0.5).abs() < 1e-6
        assert gray.all(2).all(1).sum(1).tolist() == [columns] * 8


def test_blur_jpeg_comes_on_top(photographs):
    batch = Batch(torch.from_numpy(photographs[:6]).permute(0, 3, 1, 2), torch.arange(6))
    clear, spoilt = (
        Split(views=STILL, blur_jpeg=spoilt).prepare(batch, Now(0, 1, generator("x"))).inputs
        for spoilt in (False, True)
    )
    assert 0.01 < (clear - spoilt).abs().mean() < 0.2


def test_an_impossible_gap_is_refused():
    with pytest.raises(ValueError, match="gap is the share"):
        Split(gap=0.7)
