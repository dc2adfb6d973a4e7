import pytest
import torch
import torchvision.transforms.v2.functional as tv

from selfsight.images.resample import blur_matrix, resize_matrix, rotate, separable
from selfsight.images.turn import quarter_turn


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [16, 40, 64])
def test_crop_and_resize_is_torchvisions_antialiased(images, side):
    crops = [(0, 0, 40, 48), (3, 5, 20, 31), (10, 2, 30, 30), (39, 47, 1, 1)]
    top, left, tall, wide = (torch.tensor(column) for column in zip(*crops, strict=True))
    ours = separable(images, resize_matrix(top, tall, 40, side), resize_matrix(left, wide, 48, side))
    for image, crop, mine in zip(images, crops, ours, strict=True):
        theirs = tv.resized_crop(image[None], *crop, size=[side, side], antialias=True)[0]
        assert torch.allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_torchvisions(images, sigma):
    radius = 3
    rows, columns = (blur_matrix(torch.full((4,), sigma), size, radius) for size in (40, 48))
    theirs = tv.gaussian_blur(images, kernel_size=[2 * radius + 1] * 2, sigma=[sigma, sigma])
    assert torch.allclose(separable(images, rows, columns), theirs, atol=1e-5)


def test_each_image_has_its_own_blur(images):
    rows, columns = (blur_matrix(torch.tensor([0.1, 3.0, 0.1, 3.0]), size, 4) for size in (40, 48))
    changed = (separable(images, rows, columns) - images).abs().mean(dim=(1, 2, 3))
    assert changed[0] < 1e-4 < 0.05 < changed[1]


def test_rotation_by_a_quarter_is_exact():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    turned = rotate(images, torch.tensor([90.0, 0.0]))
    assert torch.allclose(turned[0], torch.rot90(images[0], 1, (-2, -1)), atol=1e-4)
    assert torch.allclose(turned[1], images[1], atol=1e-5)


def test_rotation_keeps_shapes_where_height_and_width_differ():
    image = torch.zeros(1, 1, 32, 64)
    image[0, 0, 14:18, 30:34] = 1  # a square in the middle stays a square of the same area
    assert rotate(image, torch.tensor([45.0])).sum() == pytest.approx(16, rel=0.05)


def test_quarter_turns_are_per_image():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    turned = quarter_turn(images, torch.tensor([0, 1, 2, 3]))
    for k in range(4):
        assert torch.equal(turned[k], torch.rot90(images[k], k, (-2, -1)))
    with pytest.raises(ValueError, match="square"):
        quarter_turn(images[:, :, :4], torch.tensor([0, 1, 2, 3]))
