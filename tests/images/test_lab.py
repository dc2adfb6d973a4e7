"""Lab is scikit-image's, there and back, with a slope everywhere."""

import numpy as np
import pytest
import torch
from skimage import color, data

from selfsight.images.lab import lightness, to_lab, to_srgb


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    drawn = np.random.default_rng(0).random((1, 30, 30, 3))
    drawn[0, :3] = 0.0  # black, white, gray, pure colours
    drawn[0, 3:6] = 1.0
    drawn[0, 6, :10] = 0.02
    drawn[0, 7, :10] = (1, 0, 0)
    real = data.coffee()[None, 100:130, 150:180] / 255
    return torch.from_numpy(np.concatenate([drawn, real])).permute(0, 3, 1, 2)


def test_there_it_is_skimages(pictures):
    theirs = color.rgb2lab(pictures.permute(0, 2, 3, 1).numpy())
    assert np.abs(to_lab(pictures).permute(0, 2, 3, 1).numpy() - theirs).max() < 2e-3


def test_back_it_is_skimages(pictures):
    lab = to_lab(pictures)
    theirs = color.lab2rgb(lab.permute(0, 2, 3, 1).numpy())
    assert np.abs(to_srgb(lab).permute(0, 2, 3, 1).numpy() - theirs).max() < 1e-5
    assert torch.allclose(to_srgb(lab.float()), pictures.float(), atol=1e-4)


def test_gray_has_no_colour():
    lab = to_lab(torch.linspace(0, 1, 11).view(1, 1, 1, 11).expand(1, 3, 1, 11))
    assert lab[:, 1:].abs().max() < 0.02
    assert lab[0, 0, 0, 0] == pytest.approx(0, abs=1e-4)
    assert lab[0, 0, 0, -1] == pytest.approx(100, abs=1e-3)


def test_its_slope_is_finite_everywhere_and_right_inside(pictures):
    for change, values in ((to_lab, pictures), (to_srgb, to_lab(pictures))):
        given = values.clone().requires_grad_()
        change(given).sum().backward()
        assert torch.isfinite(given.grad).all()
    inside = (0.1 + 0.8 * pictures[:, :, 10:12, :3]).requires_grad_()
    assert torch.autograd.gradcheck(to_lab, (inside,), atol=1e-4)
    assert torch.autograd.gradcheck(to_srgb, (to_lab(inside).detach().requires_grad_(),), atol=1e-4)


def test_gray_images_are_refused():
    with pytest.raises(ValueError, match="colour images"):
        to_lab(torch.rand(2, 1, 4, 4))


def test_the_gray_of_the_same_lightness(pictures):
    gray = lightness(pictures)
    assert gray.shape == (2, 1, 30, 30)
    assert (to_lab(gray.expand(-1, 3, -1, -1))[:, 0] - to_lab(pictures)[:, 0]).abs().max() < 1e-3
    detour = to_srgb(to_lab(pictures) * torch.tensor([1.0, 0, 0])[:, None, None])
    assert (gray - detour).abs().max() < 2e-3


def test_without_clamping_colours_go_on_outside():
    lab = torch.tensor([50.0, 120.0, 100.0]).view(1, 3, 1, 1).requires_grad_()  # redder than a screen
    free = to_srgb(lab, clamp=False)
    assert free.max() > 1 and free.min() < 0
    assert torch.equal(free.clamp(0, 1), to_srgb(lab))
    free.sum().backward()
    assert (lab.grad != 0).all() and torch.isfinite(lab.grad).all()
