"""Plain JPEGs are decoded as Pillow decodes them, to the last bit; all others are left to it."""

import io

import numpy as np
import pytest
from PIL import Image

from selfsight.images import turbo
from selfsight.images.decode import to_pixels

pytest.importorskip("simplejpeg")


def noise(height, width, mode="RGB", seed=0):
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


def jpeg(picture, **settings):
    written = io.BytesIO()
    picture.save(written, "JPEG", **settings)
    return written.getvalue()


@pytest.mark.parametrize("settings", [
    {"quality": 30, "subsampling": 2}, {"quality": 95, "subsampling": 0}, {"subsampling": 1}, {"progressive": True},
    {"optimize": True}, {"comment": "a note"}, {"restart_marker_blocks": 2}, {"dpi": (300, 300)},
])  # fmt: skip
@pytest.mark.parametrize("side", [(64, 64), (65, 67), (33, 128), (7, 5), (1, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_jpeg_is_decoded_as_by_pillow(settings, side, mode):
    content = jpeg(noise(*side, mode), **settings)
    found = turbo.decoded(content, 1000)
    assert found is not None
    assert np.array_equal(found, np.asarray(Image.open(io.BytesIO(content))).reshape(found.shape))


def test_what_says_more_is_left_to_pillow():
    plain, turned = noise(20, 30), Image.Exif()
    turned[0x0112] = 6
    profile = {"icc_profile": b"no profile, but something of the kind"}
    for content in (
        jpeg(plain, exif=turned), jpeg(plain, **profile), jpeg(noise(8, 8, "CMYK")), jpeg(plain, keep_rgb=True),
        b"", b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", jpeg(plain)[2:],
    ):  # fmt: skip
        assert turbo.shape(content) is None and turbo.decoded(content, 1000) is None
    assert to_pixels(jpeg(plain, exif=turned), 20)[1] == (20, 30)


def test_large_ones_are_left_to_pillow_which_decodes_a_fraction():
    content = jpeg(noise(80, 100))
    assert turbo.decoded(content, 81) is not None and turbo.decoded(content, 80) is None


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_truncated_ones_are_refused_as_ever(cut):
    content = jpeg(noise(64, 64))
    with pytest.raises(ValueError, match="truncated|damaged"):
        to_pixels(content[: int(len(content) * cut)], 32)
    filled = content[: int(len(content) * cut)] + bytes(len(content) - int(len(content) * cut))
    with pytest.raises(ValueError, match="truncated|damaged"):
        to_pixels(filled, 32)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", ["auto", 1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("side", [(32, 32), (50, 40), (100, 300)])
def test_pixels_do_not_depend_on_the_way(fit, channels, mode, side, monkeypatch):
    content = jpeg(noise(*side, mode))
    quick = to_pixels(content, 32, fit, channels)
    monkeypatch.setattr(turbo, "simplejpeg", None)
    slow = to_pixels(content, 32, fit, channels)
    assert np.array_equal(quick[0], slow[0]) and quick[1] == slow[1]
