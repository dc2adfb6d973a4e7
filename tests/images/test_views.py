"""Views must be torchvision's in distribution: the statistics of many views of one picture are compared."""

import numpy as np
import pytest
import torch
from skimage import data
from torchvision.transforms import v2

from selfsight import openmp
from selfsight.compiling import compiled_module
from selfsight.images import views
from selfsight.images.resample import resize_matrix
from selfsight.images.views import Views, draw_crops
from selfsight.seeds import generator

SIDE = 48


@pytest.fixture(scope="module")
def cat() -> torch.Tensor:
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)
    return v2.functional.resize(picture[:, :, 75:375], [SIDE, SIDE], antialias=True)


def ours(views: Views, picture: torch.Tensor, n: int) -> torch.Tensor:
    return views(picture.expand(n, -1, -1, -1), generator("ours"))


def theirs(transform, picture: torch.Tensor, n: int) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return torch.stack([transform(picture.float() / 255) for _ in range(n)])


def features(views: torch.Tensor) -> np.ndarray:
    """What a view looks like in twelve numbers: colour, contrast, saturation, sharpness, where the light is."""
    gray = views.mean(1)
    half = views.shape[-1] // 2
    columns = [
        *views.mean((2, 3)).unbind(1),
        *views.std((2, 3)).unbind(1),
        (views.amax(1) - views.amin(1)).mean((1, 2)),
        (gray[:, 1:] - gray[:, :-1]).abs().mean((1, 2)),
        (gray[:, :, 1:] - gray[:, :, :-1]).abs().mean((1, 2)),
        gray[:, :half].mean((1, 2)) - gray[:, half:].mean((1, 2)),
        gray[:, :, :half].mean((1, 2)) - gray[:, :, half:].mean((1, 2)),
        (views[:, 0] - views[:, 2]).mean((1, 2)),
    ]
    return torch.stack(columns, 1).numpy()


def composed(v: Views) -> v2.Compose:
    radius = max(1, round(SIDE / 20))
    scale = SIDE / 224
    jitter = v2.ColorJitter(v.brightness, v.contrast, v.saturation, v.hue)
    blur = v2.GaussianBlur(2 * radius + 1, (v.sigma[0] * scale, v.sigma[1] * scale))
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=v.crop, ratio=v.ratio, antialias=True),
            v2.RandomHorizontalFlip(v.flip),
            v2.RandomApply([jitter], v.jitter),
            v2.RandomGrayscale(v.gray),
            v2.RandomApply([blur], v.blur),
            v2.RandomSolarize(0.5, v.solarise),
        ]
    )


RECIPES = {
    "standard": Views(),
    "strong": Views(
        crop=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, solarise=0.2, sigma=(0.1, 8.0)
    ),
    "geometry": Views(crop=(0.1, 0.6)).gentle(),
    "jitter": Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=1.0, gray=0.0, blur=0.0, hue=0.4),
}


@pytest.mark.parametrize("name", RECIPES)
def test_distribution_is_torchvisions(cat, name):
    """Two-sample Kolmogorov-Smirnov on every feature: the largest distance stays below its 0.1 % critical value
    (for twelve features at once). Breaking any one change, its order or its chance exceeds it."""
    n = 3000
    mine, other = (features(views) for views in (ours(RECIPES[name], cat, n), theirs(composed(RECIPES[name]), cat, n)))
    critical = np.sqrt(-np.log(0.001 / 12 / 2) / 2) * np.sqrt(2 / n)
    for column in range(mine.shape[1]):
        a, b = np.sort(mine[:, column]), np.sort(other[:, column])
        both = np.concatenate([a, b]) + 1e-5  # equal values, up to rounding, count as equal
        distance = np.abs(np.searchsorted(a, both, "right") - np.searchsorted(b, both, "right")).max() / n
        assert distance < critical, f"feature {column}: {distance:.3f}"


def test_the_comparison_would_notice():
    """The guard of the test above: a jitter of 0.5 for 0.4 is told apart."""
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[:, :SIDE, :SIDE]
    mine = features(ours(Views(brightness=0.5), picture, 3000))
    other = features(theirs(composed(Views()), picture, 3000))
    a, b = np.sort(mine[:, 0]), np.sort(other[:, 0])
    both = np.concatenate([a, b])
    distance = np.abs(np.searchsorted(a, both, "right") - np.searchsorted(b, both, "right")).max() / 3000
    assert distance > np.sqrt(-np.log(0.001 / 12 / 2) / 2) * np.sqrt(2 / 3000)


def test_crops_stay_inside_and_cover_the_asked_area():
    top, left, tall, wide = draw_crops(5000, 40, 60, (0.2, 0.8), (0.75, 4 / 3), generator("crops"))
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 40).all()
    assert (left + wide <= 60).all()
    share = tall * wide / (40 * 60)
    assert share.min() > 0.17
    assert share.max() < 0.83


def test_a_crop_that_cannot_fit_falls_back_to_the_centre():
    top, left, tall, wide = draw_crops(10, 10, 100, (1.0, 1.0), (0.75, 4 / 3), generator("narrow"))
    assert set(tall.tolist()) == {10.0}
    assert set(wide.tolist()) == {13.0}
    assert set(left.tolist()) == {43.0}
    assert set(top.tolist()) == {0.0}


def test_same_generator_same_views_and_every_image_its_own(cat):
    batch = cat.expand(8, -1, -1, -1)
    first, again = (Views()(batch, generator("a")) for _ in range(2))
    assert torch.equal(first, again)
    assert len({round(float(view.mean()), 6) for view in first}) == 8
    assert first.min() >= 0
    assert first.max() <= 1


def test_pair_gives_two_different_views_of_each(cat):
    pair = Views().pair(cat.expand(5, -1, -1, -1), generator("pair"))
    assert pair.shape == (5, 2, 3, SIDE, SIDE)
    assert not torch.equal(pair[:, 0], pair[:, 1])


def test_nothing_asked_nothing_changed(cat):
    still = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
    assert torch.allclose(still(cat[None], generator("x")), cat[None] / 255, atol=1e-5)


@pytest.mark.skipif(not compiled_module("compiled"), reason="numba is not installed")
def test_compiled_views_that_change_nothing_are_the_picture_to_the_last_bit(cat):
    still = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
    assert torch.equal(still(cat[None], generator("x")), cat[None].float() / 255)


@pytest.mark.skipif(not compiled_module("compiled"), reason="numba is not installed")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(48, 48), (28, 28), (40, 60), (7, 5)])
@pytest.mark.parametrize("name", [*RECIPES, "edges"])
def test_compiled_views_are_torchs(monkeypatch, cat, name, shape, channels):
    """The compiled code and torch make one and the same picture of what was drawn, in any layout, by any threads."""
    recipe = RECIPES.get(name) or Views(edge=1.0, rotate=0.0, solarise=0.5)
    pictures = torch.randint(0, 256, (24, *shape, channels), dtype=torch.uint8, generator=generator("noise"))
    pictures[:8] = cat[:channels, : shape[0], : shape[1]].permute(1, 2, 0)[:, :, :channels] if max(shape) <= SIDE else 0
    pictures = pictures.permute(0, 3, 1, 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    fast = recipe(pictures, generator("both"))
    monkeypatch.setattr(views, "compiled_module", lambda _: None)
    slow = recipe(pictures, generator("both"))
    assert fast.shape == slow.shape
    assert (fast - slow).abs().max() < 1e-4  # a hue of nearly gray pixels divides by nearly nothing
    assert (fast - slow).abs().mean() < 1e-6
    assert torch.equal(fast, _compiled_again(recipe, pictures.contiguous(), monkeypatch))


@pytest.mark.skipif(not compiled_module("compiled"), reason="numba is not installed")
def test_without_torchs_threads_our_own_make_the_same(monkeypatch, cat):
    pictures, recipe = cat[None].expand(24, -1, -1, -1), RECIPES["standard"] if "standard" in RECIPES else Views()
    usual = recipe(pictures, generator("threads"))
    monkeypatch.setattr(openmp, "_start", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(recipe(pictures, generator("threads")), usual)


def test_another_default_of_numbers_changes_no_view_s_kind(cat):
    torch.set_default_dtype(torch.float64)
    try:
        made = Views()(cat[None], generator("doubles"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert made.shape == cat[None].shape


def _compiled_again(recipe: Views, pictures: torch.Tensor, monkeypatch) -> torch.Tensor:
    monkeypatch.setattr(views, "compiled_module", compiled_module)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return recipe(pictures, generator("both"))


def test_one_channel(cat):
    assert Views(solarise=0.5, rotate=20.0)(cat[None, :1].expand(6, -1, -1, -1), generator("one")).shape == (
        6,
        1,
        SIDE,
        SIDE,
    )


def test_rows_of_a_resize_sum_to_one():
    weights = resize_matrix(torch.tensor([0, 3]), torch.tensor([10, 4]), 12, 5)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 5))


@pytest.mark.parametrize("wrong", [{"crop": (0.0, 1.0)}, {"crop": (0.9, 0.5)}, {"flip": 1.5}, {"hue": 0.7}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Views(**wrong)


def test_views_are_the_same_where_the_network_computes_in_half_precision():
    """The running probe of images without labels makes its views under the training's autocast."""
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = Views(rotate=20.0)(images, torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = Views(rotate=20.0)(images, torch.Generator().manual_seed(1))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, plain)


@pytest.mark.skipif(not compiled_module("compiled"), reason="numba is not installed")
def test_pictures_narrower_than_their_blur_never_reach_compiled_code(monkeypatch):
    """It has no borders to reflect there, and asks no index whether it lies within the picture."""
    monkeypatch.setattr(views, "_compiled", lambda *_: pytest.fail("compiled"))
    thin = torch.zeros(2, 3, 1, 40, dtype=torch.uint8)
    assert Views().gentle()(thin, generator("thin")).shape == thin.shape
