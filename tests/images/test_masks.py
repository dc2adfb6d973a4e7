"""Masks hide what they are asked to hide, every place as often as any other."""

import math

import pytest
import torch

from selfsight.images.holes import fill, hide
from selfsight.images.masks import cow, pattern, rectangles
from selfsight.images.resample import rotate
from selfsight.images.warp import matrices
from selfsight.seeds import generator


def test_rectangles_are_those_of_a_loop():
    draws = generator("rectangles")
    top, left = torch.randint(-5, 20, (2, 30, 3), generator=draws).float()
    tall, wide = torch.randint(0, 12, (2, 30, 3), generator=draws).float()
    slow = torch.zeros(30, 1, 16, 24)
    for i in range(30):
        for k in range(3):
            first, begin = int(top[i, k]), int(left[i, k])
            rows = slice(max(0, first), max(0, first + int(tall[i, k])))
            slow[i, 0, rows, max(0, begin) : max(0, begin + int(wide[i, k]))] = 1
    assert torch.equal(rectangles(top, left, tall, wide, 16, 24), slow)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (64, 64), (24, 40)])
def test_cow_patches_cover_exactly_their_share(height, width):
    share = torch.linspace(0.001, 0.999, 40)
    masks = cow(share, torch.linspace(1 / 16, 1 / 3, 40), height, width, generator("cow"))
    area = height * width
    assert masks.shape == (40, 1, height, width)
    assert masks.sum((1, 2, 3)).tolist() == (share * area).round().clamp(1, area - 1).tolist()


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_no_place_is_hidden_by_cows_more_often(share):
    """Noise that ended at the border would vary more or less there than in the middle."""
    masks = cow(torch.full((3000,), share), torch.full((3000,), 0.1), 24, 24, generator("often"))
    often = masks.mean(0)[0]
    error = math.sqrt(share * (1 - share) / 3000)
    regions = (
        often[:3, :3],
        often[:3, -3:],
        often[-3:, :3],
        often[-3:, -3:],
        often[0],
        often[:, -1],
        often[8:16, 8:16],
    )
    for region in regions:
        assert abs(float(region.mean()) - share) < 4 * error
    assert (often - share).abs().max() < 5.5 * error


def test_cow_patches_are_smooth_without_a_grid():
    """Neighbours agree as a Gaussian field says: its correlation at distance d is exp(-d^2 / (4 sigma^2)), and the
    median cut of two normals of correlation r differs in arccos(r) / pi of the places."""
    sigma, side = 0.04, 64
    masks = cow(torch.full((800,), 0.5), torch.full((800,), sigma), side, side, generator("smooth"))
    for distance in (1, 3):
        between = (masks[..., distance:] != masks[..., :-distance]).float().mean((0, 1, 2))
        expected = math.acos(math.exp(-(distance**2) / (4 * (sigma * side) ** 2))) / math.pi
        assert float(between.mean()) == pytest.approx(expected, rel=0.04)
        assert between.std() < 0.12 * expected


def upright(n):
    return torch.eye(2).expand(n, 2, 2)


def test_a_pattern_is_that_of_a_loop():
    n, height, width = 12, 20, 30
    draws = generator("pattern")
    size, repeat = 0.1 + 0.2 * torch.rand(n, generator=draws), torch.randint(1, 5, (n,), generator=draws)
    step = size * (1.2 + torch.rand(n, generator=draws))
    points = upright(n) + 0.4 * torch.rand(n, 2, 2, generator=draws)
    centre = torch.rand(n, 2, generator=draws)
    found = pattern(size, step, repeat, points, centre, height, width)
    for i in range(n):
        for row in range(height):
            for column in range(width):
                x = (column + 0.5 - float(centre[i, 0]) * width) / height
                y = (row + 0.5 - float(centre[i, 1]) * height) / height
                u, v = (float(points[i, k, 0]) * x + float(points[i, k, 1]) * y for k in range(2))
                inside = all(
                    any(
                        abs(at - (k + 0.5 - int(repeat[i]) / 2) * float(step[i])) < float(size[i]) / 2
                        for k in range(int(repeat[i]))
                    )
                    for at in (u, v)
                )
                assert bool(found[i, 0, row, column]) == inside


def test_a_turned_pattern_is_the_upright_one_turned_counter_clockwise():
    half, one, none = torch.full((1,), 0.5), torch.ones(1), torch.zeros(1)
    angle = torch.tensor([25.0])
    cos, sin = (angle * math.pi / 180).cos(), (angle * math.pi / 180).sin()
    whole = pattern(half * 0.4, half * 0.6, 2 * one, upright(1), torch.stack([half, half], 1), 64, 64)
    whole[:, :, :32, :32] = 0  # so that it has no symmetry of a quarter turn
    turned = pattern(
        half * 0.4, half * 0.6, 2 * one, matrices(cos, -sin, sin, cos), torch.stack([half, half], 1), 64, 64
    )
    read = rotate(whole, angle) > 0.5
    assert (read & ~turned.bool()).sum() < 0.05 * read.sum()
    assert (rotate(whole, -angle) > 0.5).logical_and(~turned.bool()).sum() > 0.1 * read.sum()
    assert none.sum() == 0


def test_holes_are_filled_by_mean_gray_or_noise_and_nothing_else_is_touched():
    images = torch.rand(5, 3, 12, 12, generator=generator("images"))
    masks = (torch.rand(5, 1, 12, 12, generator=generator("masks")) < 0.4).float()
    masks[0] = 0
    masks[1] = 1
    hidden = masks.bool().expand_as(images)
    for by in ("mean", "gray", "noise"):
        left = hide(images, masks, by, generator("fill"))
        assert torch.equal(left[~hidden], images[~hidden])
        assert left.isfinite().all() and left.min() >= 0 and left.max() <= 1
    assert torch.equal(hide(images, masks, "mean", generator("fill")), fill(images, masks))
    assert (hide(images, masks, "gray", generator("fill"))[hidden] == 0.5).all()
    assert hide(images, masks, "noise", generator("fill"))[hidden].std() > 0.25
    assert not fill(images, masks)[1].any(), "black where nothing is left"
