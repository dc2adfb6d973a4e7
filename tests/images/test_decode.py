"""Every odd way of storing a picture must give what a person would see, and what is no picture a plain reason."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from selfsight.images.decode import TURNS, fitted, to_picture, to_pixels


def encoded(image: Image.Image, form: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Four different corners, so that no turn or flip of it looks the same."""
    image = Image.new("RGB", (width, height), (200, 40, 40))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=(40, 200, 40))
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=(40, 40, 200))
    return image


def noise(width: int = 48, height: int = 32, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values if channels > 1 else values[:, :, 0])


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_formats_give_what_was_stored_and_gray_stays_gray(form, mode):
    given = scene().convert(mode)
    picture = to_picture(encoded(given, form))
    assert picture.mode == mode
    assert np.array_equal(pixels(picture), pixels(given))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_close(form):
    picture = to_picture(encoded(scene(), form))
    assert picture.mode == "RGB"
    assert np.abs(pixels(picture) - pixels(scene())).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_stands_upright(orientation):
    upright = scene()
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}  # the others undo themselves
    stored = upright if orientation == 1 else upright.transpose(back.get(orientation, TURNS.get(orientation)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form, settings in (("JPEG", {"quality": 95}), ("PNG", {}), ("TIFF", {})):
        picture = to_picture(encoded(stored, form, exif=exif, **settings))
        assert picture.size == upright.size, form
        assert np.abs(pixels(picture) - pixels(upright)).mean() < 6, form
    _, whole = to_pixels(encoded(stored, "JPEG", exif=exif), 8)
    assert whole == upright.size


def test_damaged_exif_does_not_cost_the_picture():
    content = encoded(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert np.abs(pixels(to_picture(content)) - pixels(scene())).mean() < 12


def half_seen(mode: str) -> Image.Image:
    """Left half opaque, right half wholly transparent, over dark values that must not show."""
    image = Image.new(mode, (8, 4), (10, 255) if mode == "LA" else (10, 20, 30, 255))
    image.paste((0, 0) if mode == "LA" else (0, 0, 0, 0), (4, 0, 8, 4))
    return image


@pytest.mark.parametrize(("mode", "seen"), [("RGBA", "RGB"), ("LA", "L")])
def test_transparency_is_laid_on_white(mode, seen):
    picture = to_picture(encoded(half_seen(mode)))
    assert picture.mode == seen
    assert (pixels(picture)[:, 4:] == 255).all()
    assert pixels(picture)[0, 0].tolist() == (10 if mode == "LA" else [10, 20, 30])


def test_half_transparent_black_is_middle_gray():
    assert pixels(to_picture(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))))[0, 0, 0] == pytest.approx(127, abs=1)


def test_palette_is_expanded_and_its_transparent_colour_is_white():
    image = Image.new("P", (8, 4), 0)
    image.putpalette([250, 10, 10, 10, 10, 250, 10, 250, 10])
    image.paste(1, (4, 0, 8, 4))
    assert pixels(to_picture(encoded(image)))[0, [0, 7]].tolist() == [[250, 10, 10], [10, 10, 250]]
    for form in ("PNG", "GIF"):
        assert pixels(to_picture(encoded(image, form, transparency=1)))[0, [0, 7]].tolist() == [
            [250, 10, 10],
            [255, 255, 255],
        ]


def test_palette_of_grays_is_gray():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    picture = to_picture(encoded(image))
    assert picture.mode == "L"
    assert (pixels(picture) == 90).all()


def test_transparent_colour_of_an_rgb_png_is_white():
    image = scene()
    picture = to_picture(encoded(image, transparency=(40, 200, 40)))
    assert pixels(picture)[0, -1].tolist() == [255, 255, 255]
    assert pixels(picture)[0, 0].tolist() == [200, 40, 40]


def test_cmyk_jpeg_is_not_inverted():
    content = encoded(scene().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in content
    picture = to_picture(content)
    assert picture.mode == "RGB"
    assert np.abs(pixels(picture) - pixels(scene())).mean() < 6


def test_one_bit_is_black_and_white():
    image = Image.new("1", (8, 8), 0)
    image.paste(1, (4, 0, 8, 8))
    for form in ("PNG", "TIFF"):
        assert pixels(to_picture(encoded(image, form)))[0].tolist() == [0, 0, 0, 0, 255, 255, 255, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257(form):
    values = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    picture = to_picture(encoded(Image.fromarray(values), form))
    assert picture.mode == "L"
    assert pixels(picture).tolist() == [[0, 1, 100, 255]]


def test_sixteen_bits_of_the_other_byte_order():
    image = Image.frombytes("I;16B", (4, 1), np.array([0, 257, 25700, 65535], dtype=">u2").tobytes())
    assert pixels(to_picture(encoded(image, "TIFF"))).tolist() == [[0, 1, 100, 255]]


def test_transparent_value_of_a_sixteen_bit_png_is_white():
    image = Image.fromarray(np.array([[0, 25700]], dtype=np.uint16))
    assert pixels(to_picture(encoded(image, transparency=0))).tolist() == [[255, 100]]


def test_floats_within_one_are_scaled_and_others_stretched():
    def through_tiff(values):
        return pixels(to_picture(encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF"))).tolist()

    assert through_tiff([0.0, 0.2, 0.4]) == [[0, 51, 102]]
    assert through_tiff([-10.0, 0.0, 10.0]) == [[0, 128, 255]]
    assert through_tiff([float("nan"), 0.2, 1.0]) == [[0, 51, 255]]


def test_wide_integers_are_stretched():
    values = np.array([[-100, 0, 100000]], dtype=np.int32)
    assert pixels(to_picture(Image.fromarray(values))).tolist() == [[0, 0, 255]]


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert Image.open(io.BytesIO(content)).n_frames == 3
        assert pixels(to_picture(content))[0, 0] == pytest.approx([255, 0, 0], abs=8), form


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged, in the bytes of the profile's table."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for place in range(132, 132 + 12 * struct.unpack(">I", profile[128:132])[0], 12):
        name = bytes(profile[place : place + 4])
        profile[place : place + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(profile.replace("sRGB".encode("utf-16-be"), "odd ".encode("utf-16-be")))


def test_colour_profile_is_applied():
    red = Image.new("RGB", (4, 4), (250, 5, 5))
    plain, odd = encoded(red), encoded(red, icc_profile=swapped_profile())
    assert pixels(to_picture(plain))[0, 0].tolist() == [250, 5, 5]
    assert pixels(to_picture(odd))[0, 0] == pytest.approx([5, 250, 5], abs=6)


def test_profile_of_srgb_changes_nothing_and_a_broken_one_is_ignored():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for given in (profile, b"no profile at all", profile[:200]):
        assert np.array_equal(pixels(to_picture(encoded(noise(), icc_profile=given))), pixels(noise()))


def test_rgb_profile_in_a_gray_or_cmyk_file_is_ignored():
    gray, ink = noise(channels=1), scene().convert("CMYK")
    content = encoded(gray, icc_profile=swapped_profile())
    assert np.array_equal(pixels(to_picture(content)), pixels(gray))
    content = encoded(ink, "JPEG", quality=95, icc_profile=swapped_profile())
    assert np.abs(pixels(to_picture(content)) - pixels(scene())).mean() < 6


def test_lab_tiff_is_converted():
    lab = ImageCms.applyTransform(
        scene(), ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    )
    assert np.abs(pixels(to_picture(encoded(lab, "TIFF"))) - pixels(scene())).mean() < 6


def test_large_jpeg_is_decoded_small_but_never_below_twice_the_side():
    content = encoded(scene(5200, 4000).resize((5200, 4000)), "JPEG")
    small = to_picture(content, side=64)
    assert 128 <= min(small.size) < 1000
    assert to_picture(content).size == (5200, 4000)
    made, whole = to_pixels(content, 64)
    assert whole == (5200, 4000)
    assert np.abs(made.astype(int) - fitted(to_picture(content), 64).astype(int)).mean() < 2


def test_jpeg_hardly_larger_than_asked_is_decoded_whole():
    assert to_picture(encoded(scene(100, 90), "JPEG"), side=64).size == (100, 90)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_truncated_file_is_refused_and_says_so(form, share):
    content = encoded(noise(), form)
    with pytest.raises(ValueError, match=r"^truncated: the file ends before the picture does$"):
        to_picture(content[: int(len(content) * share)])


def test_truncated_jpeg_is_refused_when_decoded_small_too():
    content = encoded(noise(2000, 1600), "JPEG")
    with pytest.raises(ValueError, match="truncated"):
        to_pixels(content[: len(content) // 2], 32)


def test_jpeg_whose_end_is_zeros_is_truncated_and_padding_behind_a_whole_one_is_not():
    content = encoded(noise(), "JPEG")
    half = len(content) // 2
    with pytest.raises(ValueError, match="truncated"):
        to_picture(content[:half] + bytes(half))
    assert to_picture(content + bytes(500)).size == (48, 32)


def test_damaged_png_is_refused():
    content = bytearray(encoded(noise()))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ValueError, match=r"^damaged: "):
        to_picture(bytes(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"this is a shopping list, not a picture", "not an image (of no format that is known here)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image (of no format that is known here)"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut off in its first bytes"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, which cannot be read here: convert it to JPEG or PNG"),
        (bytes(5000), "not an image (of no format that is known here)"),
    ],
)
def test_reason_in_plain_words(content, reason):
    with pytest.raises(ValueError, match=r".") as caught:
        to_picture(content)
    assert str(caught.value) == reason


def giant_png(width: int, height: int) -> bytes:
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_and_a_merely_large_picture_is_not(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert to_picture(giant_png(150, 100)).size == (150, 100)  # Pillow warns here, which is an error in these tests
    with pytest.raises(ValueError, match=r"^too large: more than 20,000 pixels$"):
        to_picture(giant_png(250, 100))


def test_warnings_of_others_are_back_after_decoding_in_many_threads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    content, before, failed = giant_png(150, 100), list(warnings.filters), []

    def work():
        for _ in range(30):
            try:
                to_picture(content)
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)


def test_a_picture_is_taken_as_well_as_bytes():
    assert np.array_equal(pixels(to_picture(half_seen("RGBA"))), pixels(to_picture(encoded(half_seen("RGBA")))))
    for mode in (
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I",
        "F",
    ):
        assert to_picture(Image.new(mode, (3, 3))).mode in ("L", "RGB"), mode


def test_crop_keeps_the_middle_and_proportions():
    wide = Image.new("RGB", (90, 30), "black")
    wide.paste("white", (30, 0, 60, 30))
    assert (fitted(wide, 10, "crop") > 200).all()
    assert (fitted(wide.transpose(Image.Transpose.ROTATE_90), 10, "crop") > 200).all()
    assert fitted(wide, 10).shape == (10, 10, 3)


def test_pad_keeps_all_with_white_around():
    band = fitted(Image.new("L", (90, 30), 0), 30, "pad")[:, :, 0]
    assert (band[:10] == 255).all()
    assert (band[10:20] == 0).all()
    assert (band[20:] == 255).all()
    assert fitted(Image.new("RGB", (500, 1), "black"), 8, "pad").shape == (8, 8, 3)


def test_stretch_fills_the_square_with_all_of_it():
    wide = Image.new("L", (90, 30), 0)
    wide.paste(255, (45, 0, 90, 30))
    made = fitted(wide, 10, "stretch")[:, :, 0]
    assert (made[:, :4] == 0).all()
    assert (made[:, 6:] == 255).all()


def test_resize_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (256, 128)))
    made = fitted(stripes, 16).astype(int)
    assert np.abs(made - 127).max() < 20  # 15 at the border; without antialiasing it is 127 everywhere


def test_channels_can_be_asked_for():
    assert to_pixels(encoded(scene()), 8, channels=1)[0].shape == (8, 8, 1)
    assert to_pixels(encoded(scene().convert("L")), 8, channels=3)[0].shape == (8, 8, 3)
    assert to_pixels(encoded(scene().convert("L")), 8)[0].shape == (8, 8, 1)
