"""Each transform is what its name says, and what cannot be seen is not said to be there."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from selfsight.images.channels import ORDERS, misorder
from selfsight.images.elastic import elastic_field
from selfsight.images.grain import noise, posterise
from selfsight.images.sharpness import blur, median, sharpen
from selfsight.images.transforms import PIXELS, POINTS, WORDS, transform, visible
from selfsight.images.turn import quarter_turn
from selfsight.images.warp import flipped, mirrored, turned, warp, window, zoomed
from selfsight.seeds import generator


@pytest.fixture(scope="module")
def cats() -> torch.Tensor:
    picture = torch.from_numpy(data.chelsea()[:280, 60:340]).permute(2, 0, 1).float() / 255
    return torch.nn.functional.interpolate(picture[None], (40, 40), mode="area").expand(6, -1, -1, -1)


def test_mirror_flip_and_turn_read_other_pixels_and_nothing_else(cats):
    strength = torch.tensor([1.0, -1.0, 0.3, -0.2, 0.0, -1.0])
    assert torch.allclose(warp(cats, mirrored(strength)), cats.flip(-1), atol=1e-5)
    assert torch.allclose(warp(cats, flipped(strength)), cats.flip(-2), atol=1e-5)
    quarters = torch.where(strength < 0, 3, 1)
    assert torch.allclose(warp(cats, turned(strength)), quarter_turn(cats, quarters), atol=1e-5)


def test_a_window_shows_the_middle_and_zoom_less_of_it(cats):
    still = torch.zeros(6)
    half = warp(cats, window(still + 0.5, still), size=(20, 20))
    assert torch.allclose(half, cats[..., 10:30, 10:30], atol=1e-5)
    assert torch.allclose(warp(cats, zoomed(still), size=(20, 20)), half, atol=1e-5)


def test_an_elastic_field_is_smooth_bounded_and_everywhere_another():
    field = elastic_field(50, 32, 48, strength=0.2, cells=4, generator=generator("bend"))
    assert field.shape == (50, 32, 48, 2)
    assert 0.1 < field.abs().max() < 0.3
    assert field.std(0).min() > 0.02
    assert field.diff(dim=1).abs().max() < 0.06
    with pytest.raises(ValueError, match="at least 2 x 2"):
        elastic_field(1, 8, 8, 0.1, 1, generator("x"))


def test_blur_is_scipys_and_sharpen_its_opposite(cats):
    sigma = torch.tensor([0.8, 1.0, 1.5, 2.0, 2.5, 3.0])
    soft = blur(cats, sigma)
    for image, s, mine in zip(cats, sigma.tolist(), soft, strict=True):
        theirs = ndimage.gaussian_filter(image.numpy(), (0, s, s), mode="mirror", radius=(0, 9, 9))
        assert np.abs(mine.numpy() - theirs).max() < 2e-3
    sharp = sharpen(cats, torch.full((6,), 0.5), sigma)
    assert torch.allclose(sharp, (1.5 * cats - 0.5 * soft).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_median_is_that_of_rows_and_then_of_columns(cats, side):
    image = cats[0].numpy()
    rows = ndimage.median_filter(image, (1, 1, side), mode="nearest")
    theirs = ndimage.median_filter(rows, (1, side, 1), mode="nearest")
    assert np.array_equal(median(cats[:1], side)[0].numpy(), theirs)
    with pytest.raises(ValueError, match="odd number"):
        median(cats, side - 1)


def test_colours_never_keep_their_order_and_use_every_other():
    image = torch.tensor([0.1, 0.5, 0.9])[None, :, None, None].expand(200, 3, 4, 4)
    seen = {tuple(image[0, :, 0, 0].tolist().index(value) for value in one[:, 0, 0].tolist()) for one in
            misorder(image, generator("order"))}  # fmt: skip
    assert seen == set(ORDERS)
    assert torch.equal(misorder(image[:, :1], generator("x")), 1 - image[:, :1])
    with pytest.raises(ValueError, match="not 2"):
        misorder(image[:, :2], generator("x"))


def test_posterise_and_noise():
    image = torch.linspace(0, 1, 64).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    few = posterise(image, torch.tensor([2, 5]))
    assert [len(one.unique()) for one in few] == [2, 5]
    assert (few - image)[1].abs().max() <= 0.125 + 1e-6
    grainy = noise(torch.full((2, 3, 64, 64), 0.5), torch.tensor([0.05, 0.1]), generator("grain"))
    assert grainy.std((1, 2, 3)).tolist() == pytest.approx([0.05, 0.1], rel=0.03)


def test_every_name_has_words_and_shows_on_a_photograph(cats):
    names = tuple(WORDS)
    assert set(names) == {*POINTS, *PIXELS, "elastic"}
    assert visible(cats, names).all()
    wanted = torch.eye(len(names)).bool()
    given = cats[:1].expand(len(names), -1, -1, -1)
    pictures, applied = transform(given, wanted, names, generator("all"))
    assert torch.equal(applied, wanted)
    assert pictures.shape == given.shape
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_what_cannot_be_seen_is_known():
    names = ("mirror", "flip", "turn", "colours", "shear")
    pillar = torch.zeros(3, 32, 32)
    pillar[:, :, 10:22] = 0.7
    disc = ((torch.arange(32)[:, None] - 15.5) ** 2 + (torch.arange(32) - 15.5) ** 2 < 100).float().expand(3, 32, 32)
    left = torch.zeros(3, 32, 32)
    left[0, :, :16] = 1.0
    blank = torch.full((3, 32, 32), 0.4)
    seen = visible(torch.stack([pillar, disc, left, blank]), names)
    assert seen.tolist() == [
        [False, False, True, False, True],
        [False, False, False, False, True],
        [True, False, True, True, True],
        [False, False, False, False, False],
    ]


def test_a_change_that_left_the_pixels_alone_is_not_said_to_be_there():
    dark = torch.rand(4, 3, 32, 32, generator=generator("dark")) * 0.3
    _, applied = transform(dark, torch.ones(4, 2).bool(), ("solarise", "noise"), generator("x"))
    assert applied.tolist() == [[False, True]] * 4


def test_the_untouched_is_as_soft_as_the_flipped(cats):
    """Sharpness of many pictures, transformed and not, is the same on average."""
    many = cats[:1].expand(400, -1, -1, -1)
    wanted = (torch.arange(400) % 2 == 0)[:, None]
    for name in ("mirror", "flip", "turn"):
        pictures, _ = transform(many, wanted, (name,), generator(name))
        steps = (pictures.diff(dim=-1).abs().mean((1, 2, 3)) + pictures.diff(dim=-2).abs().mean((1, 2, 3))) / 2
        assert float(steps[::2].mean()) == pytest.approx(float(steps[1::2].mean()), rel=0.01)
