import pytest
import torch
import torchvision.transforms.v2.functional as tv

from selfsight.images import colour


@pytest.fixture
def images() -> torch.Tensor:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[0, :, :4] = 0.5  # gray pixels have no hue
    images[1, 0] = 1.0
    return images


CHANGES = [
    (colour.brighten, tv.adjust_brightness, [0.0, 0.3, 0.8, 1.0, 1.2, 1.9]),
    (colour.contrast, tv.adjust_contrast, [0.0, 0.3, 0.8, 1.0, 1.2, 1.9]),
    (colour.saturate, tv.adjust_saturation, [0.0, 0.3, 0.8, 1.0, 1.2, 1.9]),
    (colour.shift_hue, tv.adjust_hue, [-0.5, -0.2, 0.0, 0.05, 0.3, 0.5]),
]


@pytest.mark.parametrize(("ours", "theirs", "strengths"), CHANGES, ids=[c[0].__name__ for c in CHANGES])
def test_each_image_is_changed_as_torchvision_would(images, ours, theirs, strengths):
    changed = ours(images, torch.tensor(strengths))
    for image, strength, mine in zip(images, strengths, changed, strict=True):
        assert torch.allclose(mine, theirs(image, strength), atol=1e-5)


def test_gray_and_solarise(images):
    assert torch.allclose(colour.gray(images), tv.rgb_to_grayscale(images), atol=1e-6)
    assert torch.allclose(colour.solarise(images), tv.solarize(images, 0.5))


def test_one_channel_has_no_colour_to_change(images):
    one, strength = images[:, :1], torch.full((6,), 0.3)
    for change in (colour.saturate, colour.shift_hue):
        assert torch.equal(change(one, strength), one)
    assert not torch.equal(colour.contrast(one, strength), one)
