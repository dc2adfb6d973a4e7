"""Boxes hold the pixels they say, lie anywhere in their cells, and lie on the canvas where they are told to."""

import pytest
import torch

from selfsight.images.boxes import cells, cut, lay, recoloured, resized, window
from selfsight.seeds import generator


def coordinates(n, side):
    """(n, 3, side, side): image number, row and column of each pixel."""
    number = torch.arange(n).view(n, 1, 1).expand(n, side, side)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([number, row.expand(n, -1, -1), column.expand(n, -1, -1)], 1).float()


@pytest.mark.parametrize(("side", "k", "gap"), [(28, 2, 0.15), (64, 3, 0.2), (12, 2, 0.0), (224, 4, 0.5)])
def test_each_window_is_a_whole_piece_of_its_own_cell(side, k, gap):
    boxes = cut(coordinates(5, side), k, None, gap, generator("cut"))
    size = window(side, k, gap)
    assert boxes.shape == (5, k * k, 3, size, size)
    for image in range(5):
        for place in range(k * k):
            number, rows, columns = boxes[image, place]
            assert (number == image).all()
            for lines, cell in ((rows, place // k), (columns.T, place % k)):
                assert torch.equal(lines, lines[:, :1].expand_as(lines))
                assert torch.equal(lines[:, 0].diff(), torch.ones(size - 1))
                assert cell * side // k <= lines[0, 0]
                assert lines[-1, 0] < (cell + 1) * side / k


def test_windows_are_moved_by_chance_each_by_itself():
    boxes = cut(coordinates(200, 64), 2, None, 0.25, generator("moved"))
    tops, lefts = boxes[:, :, 1, 0, 0] % 32, boxes[:, :, 2, 0, 0] % 32
    for first in (tops, lefts):
        assert set(first[:, 3].int().tolist()) == set(range(9))
    assert abs(float(torch.corrcoef(torch.stack([tops[:, 0], tops[:, 1]]))[0, 1])) < 0.2
    assert abs(float(torch.corrcoef(torch.stack([tops[:, 0], lefts[:, 0]]))[0, 1])) < 0.2


def test_without_a_gap_nothing_is_left_out():
    images = torch.rand(3, 3, 32, 32)
    assert torch.equal(lay(cut(images, 2, None, 0.0, generator("whole")), 32), images)


def test_resizing_keeps_a_ramp_a_ramp_and_leaves_the_right_size_alone():
    ramp = torch.linspace(0, 1, 24).expand(2, 1, 24, 24)
    assert resized(ramp, 24) is ramp
    small = resized(ramp, 12)[0, 0]
    assert torch.allclose(small[:, 2:-2].diff(dim=1), torch.full((12, 7), 2 / 23), atol=1e-5)
    assert torch.allclose(small[0], small[5])


def test_boxes_lie_in_the_middle_of_their_cells_and_the_rest_is_gray():
    boxes = torch.arange(1, 6).float().div(10).view(1, 5, 1, 1, 1).expand(2, 5, 1, 6, 6)
    canvas = lay(boxes, 30, tone=0.9)
    assert cells(5) == 3
    for number in range(5):
        row, column = divmod(number, 3)
        cell = canvas[0, 0, 10 * row : 10 * row + 10, 10 * column : 10 * column + 10]
        assert torch.equal(cell[2:8, 2:8], boxes[0, number, 0])
        assert cell.sum() == pytest.approx(36 * (number + 1) / 10 + 64 * 0.9, rel=1e-4)
    assert (canvas[0, 0, 20:, 20:] == 0.9).all()
    with pytest.raises(ValueError, match="5 boxes of 11 pixels want a canvas of 33, not 30"):
        lay(torch.zeros(1, 5, 1, 11, 11), 30)


def test_each_box_is_recoloured_by_itself():
    gray = torch.full((40, 3, 4, 4), 0.5)
    changed = recoloured(gray, 0.2, generator("colour"))[:, 0, 0, 0]
    assert len(set(changed.tolist())) == 40
    assert 0.39 < changed.min() < 0.45 < 0.55 < changed.max() < 0.61
    assert torch.equal(recoloured(gray, 0.0, generator("colour")), gray)
