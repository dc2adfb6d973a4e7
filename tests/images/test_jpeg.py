"""JPEG is what Pillow's gives back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from selfsight.images.jpeg import jpeg


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([data.chelsea()[60:109, 100:160], data.coffee()[100:149, 200:260]])


def pillows(picture: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(stream))


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    pictures = pictures if pictures.ndim == 4 else pictures[..., None]
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("quality", [[5, 10], [15, 40], [75, 95]])
@pytest.mark.parametrize("gray", [False, True])
def test_it_is_pillows(pictures, quality, gray):
    """Rounding inside the decoder differs: two gray levels at most for nearly all pixels, and half of one on average."""
    given = pictures[..., 1] if gray else pictures
    ours = (jpeg(as_tensor(given), torch.tensor(quality)) * 255).permute(0, 2, 3, 1).numpy()
    for picture, q, mine in zip(given, quality, ours, strict=True):
        apart = np.abs(mine.squeeze() - pillows(picture, q).astype(float))
        assert np.quantile(apart, 0.95) <= 2
        assert apart.mean() < 0.5
        assert np.abs(mine.squeeze() - picture).mean() > 2 * apart.mean()


def test_blocks_begin_at_the_corner(pictures):
    """Moving picture and corner together moves the result."""
    images = as_tensor(pictures)
    whole = jpeg(images[..., 3:43, 5:45], torch.tensor([8, 8]))
    moved = jpeg(images[..., :43, :45], torch.tensor([8, 8]), corner=(3, 5))
    assert torch.allclose(moved[..., 3:43, 5:45], whole, atol=1e-6)
    assert not torch.allclose(jpeg(images[..., :43, :45], torch.tensor([8, 8]))[..., 3:43, 5:45], whole, atol=0.02)


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        jpeg(torch.rand(1, 2, 8, 8), torch.tensor([50]))
