"""How much is lost: what least squares leave over, and the numbers one would expect."""

import numpy as np
import pytest
import torch

from selfsight.images.holes import fill
from selfsight.images.lost import lost
from selfsight.seeds import generator


@pytest.fixture
def images(photographs) -> torch.Tensor:
    return torch.from_numpy(photographs[:24]).permute(0, 3, 1, 2).float() / 255


def test_it_is_what_least_squares_leave_over(images):
    """One slope for the picture and one intercept for each channel, fitted slowly."""
    left = (images.flip(-1) * 0.3 + images * 0.5 + 0.1 * torch.rand(images.shape, generator=generator("left"))).clamp(
        0, 1
    )
    for picture, other, share in zip(images.double().numpy(), left.double().numpy(), lost(images, left), strict=True):
        channels = np.repeat(np.eye(3), 32 * 32, axis=0)
        design = np.column_stack([other.reshape(-1), channels])
        fitted = design @ np.linalg.lstsq(design, picture.reshape(-1), rcond=None)[0]
        around = picture - picture.mean((1, 2), keepdims=True)
        assert float(share) == pytest.approx(((picture.reshape(-1) - fitted) ** 2).sum() / (around**2).sum(), abs=1e-4)


def test_brighter_paler_inverted_or_tinted_loses_nothing(images):
    tint = torch.tensor([0.1, 0.0, -0.1])[:, None, None]
    for left in (images, images * 0.2, 0.5 + 0.3 * images, 1 - images, images * 0.5 + 0.2 + tint):
        assert lost(images, left).max() < 1e-4


def test_one_colour_is_all_of_it_lost(images):
    assert lost(images, images.mean((2, 3), keepdim=True).expand_as(images)).min() > 0.9999
    assert lost(images, torch.zeros_like(images)).min() == 1


def test_a_flat_picture_has_nothing_to_lose(images):
    for colour in (0.0, 0.3, 1.0):
        flat = torch.full_like(images, colour)
        for left in (flat, images, 1 - flat):
            assert lost(flat, left).max() < 1e-5
    hardly = torch.full_like(images, 0.5) + 1e-4 * images
    assert lost(hardly, torch.full_like(images, 0.5)).max() < 0.01, "less than eight bits hold"


def test_noise_loses_its_share_of_the_variance():
    draws = generator("noise")
    images, noise = torch.randn(2, 8, 3, 64, 64, generator=draws)
    for deviation in (0.1, 0.5, 2.0):
        expected = deviation**2 / (1 + deviation**2)
        assert lost(images, images + deviation * noise).mean() == pytest.approx(expected, rel=0.02)


def test_a_hole_in_an_even_texture_loses_its_share_of_the_area():
    images = torch.rand(8, 1, 64, 64, generator=generator("texture"))
    for share in (0.1, 0.5, 0.9):
        masks = (torch.rand(8, 1, 64, 64, generator=generator("holes")) < share).float()
        assert lost(images, fill(images, masks)).mean() == pytest.approx(share, abs=0.02)


def test_half_precision_is_measured_in_single(images):
    left = images.flip(-1) * 0.2 + images * 0.8
    assert torch.allclose(lost(images.bfloat16(), left.bfloat16()), lost(images, left), atol=0.01)
    assert lost(images.double(), left.double()).dtype == torch.float64
