"""From an image file's bytes to a picture as a person would see it: 8 bits, upright, flat, in sRGB.

Stored is not shown: a camera writes sideways and notes so in EXIF, a logo is transparent where the page shows, a print
file counts ink instead of light. A network that is given the stored numbers learns the file format. The rules:

- orientation of EXIF applied; of an animation or a many-page file, the first frame;
- transparency laid on white (paper), the same white that `fit="pad"` puts around a picture;
- an embedded colour profile (ICC) other than sRGB is converted, relative colorimetric with black point compensation;
- 16-bit and 32-bit integers within 0..65535 are divided by 257, as every viewer does; floats within 0..1 are
  multiplied by 255; whatever lies outside these ranges is stretched from its lowest to its highest value;
- gray ("L") exactly where the file can store nothing but grays, colour ("RGB") otherwise.

Decoding is Pillow's, of plain JPEGs quicker by the library below it (`turbo.py`); a truncated file is an error here,
never a picture with a gray lower half. Torch-free.

Shapes: H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import threading
import warnings
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from selfsight.images import turbo

Fit = Literal["crop", "pad", "stretch"]

FORMATS = frozenset(
    ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI", "ICO", "PCX", "HEIF")
)
"""What Pillow calls the formats that are opened. No EPS: opening one starts Ghostscript."""
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_picture(content: bytes | Image.Image, side: int | None = None) -> Image.Image:
    """The picture in mode "L" or "RGB".

    With `side`, a large JPEG is decoded at a fraction of its size, its shorter side at least twice `side` pixels: what
    comes out is then good for one thing, to be made smaller. Raises ValueError with a short reason in plain words where
    the content is no image, or a damaged or truncated one. Warns of nothing. Safe to call from several threads.
    """
    return _decoded(content, side)[0]


def to_pixels(
    content: bytes | Image.Image, size: int, fit: Fit = "crop", channels: Literal["auto", 1, 3] = "auto"
) -> tuple[np.ndarray, tuple[int, int]]:
    """((size, size, C) uint8, (width, height) of the whole upright picture in pixels); C is 1 for a gray picture.

    Raises ValueError as `to_picture` does.
    """
    plain = turbo.decoded(content, 4 * size) if isinstance(content, bytes) and not _zero_filled(content) else None
    if plain is None:
        picture, whole = _decoded(content, size)
    else:
        whole = (plain.shape[1], plain.shape[0])
        if plain.shape[:2] == (size, size) and channels in ("auto", plain.shape[2]):
            return plain, whole
        picture = Image.fromarray(plain.squeeze(2) if plain.shape[2] == 1 else plain)
    if channels != "auto":
        picture = picture.convert("L" if channels == 1 else "RGB")
    return fitted(picture, size, fit), whole


def fitted(picture: Image.Image, size: int, fit: Fit = "crop") -> np.ndarray:
    """(size, size, C) uint8 from a picture in mode "L" or "RGB", resized with antialiasing (bicubic).

    "crop": the shorter side becomes `size` and the middle is kept. "pad": the longer side becomes `size`, white around.
    "stretch": both sides become `size`, proportions are lost.
    """
    width, height = picture.size
    if fit == "pad":
        scale = size / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.new(picture.mode, (size, size), "white")
        corner = (size - inner[0]) // 2, (size - inner[1]) // 2
        small.paste(picture.resize(inner, Image.Resampling.BICUBIC, reducing_gap=3.0), corner)
    else:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (0, 0, width, height) if fit == "stretch" else (left, top, left + side, top + side)
        small = picture.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8).reshape(size, size, -1)


def _decoded(content: bytes | Image.Image, side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, and (width, height) it would have without `side`."""
    with _QUIET:
        try:
            image = _opened(content)
            width, height = image.size
            if side is not None:
                image.draft(None, (2 * side, 2 * side))  # does nothing but for a JPEG of more than this size
            image.load()
            orientation = _orientation(image)
            picture = _flat(image)
        except (Exception, MemoryError) as error:
            raise ValueError(_reason(error, content)) from error
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
        if orientation >= 5:
            width, height = height, width
    return picture, (width, height)


def _opened(content: bytes | Image.Image) -> Image.Image:
    if isinstance(content, Image.Image):
        return content
    if not content:
        raise ValueError("empty file")
    if _zero_filled(content):
        raise OSError("truncated")
    return Image.open(io.BytesIO(content), formats=_formats())


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow can open ("HEIF" where a plugin for it has been registered)."""
    Image.init()
    return tuple(sorted(FORMATS & set(Image.OPEN)))


def _zero_filled(content: bytes) -> bool:
    """Whether a JPEG ends in zeros, without its end marker: a copy that broke off on a file of reserved length.

    The decoder takes these zeros for flat gray blocks and reports nothing.
    """
    if not content.startswith(b"\xff\xd8") or content[-64:].strip(b"\0"):
        return False
    return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; asked after loading, since TIFF files are turned by Pillow while they load."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # EXIF is free-form and often damaged; the picture is still whole
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as "L" or "RGB": scaled to 8 bits, in sRGB, on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bit(image)
    profile = image.info.get("icc_profile")
    gray = image.mode in ("1", "L", "LA", "La") or (image.mode in ("P", "PA") and _gray_palette(image))
    alpha = None
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("CMYK", "LAB"):
        image = image.convert("L" if gray else "RGB")
    picture = _in_srgb(image, profile)
    if alpha is None:
        return picture
    return Image.composite(picture, Image.new(picture.mode, picture.size, "white"), alpha)


def _gray_palette(image: Image.Image) -> bool:
    """Whether every colour of the palette is a gray."""
    palette = np.array(image.getpalette("RGB") or [0, 1, 2], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _eight_bit(image: Image.Image) -> Image.Image:
    """A gray image of 16-bit or 32-bit integers or floats as "L"."""
    values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    limit = 1.0 if image.mode == "F" else 65535.0
    if low >= 0 and high <= limit:
        low, high = 0.0, limit
    values = np.where(finite, values, low)
    pixels = np.clip(np.rint((values - low) * (255.0 / max(high - low, 1e-300))), 0, 255).astype(np.uint8)
    see_through = image.info.get("transparency")
    if isinstance(see_through, int):
        pixels[values == see_through] = 255
    return Image.fromarray(pixels)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image in mode L, RGB, CMYK or LAB as "L" or "RGB" in sRGB; plainly converted where the profile is broken."""
    transform = _transform(profile, image.mode) if profile or image.mode == "LAB" else None
    target = "L" if image.mode == "L" else "RGB"
    if transform is not None:
        with contextlib.suppress(ImageCms.PyCMSError, ValueError):
            converted = ImageCms.applyTransform(image, transform)
            if converted is not None:
                return converted.convert(target)
    return image.convert(target)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str) -> Any:
    """The transform from `profile` to sRGB; None where it is sRGB already or cannot be used."""
    try:
        if mode == "LAB":
            given = ImageCms.createProfile("LAB")
        else:
            given = ImageCms.getOpenProfile(io.BytesIO(profile or b"")).profile
            if mode == "RGB" and "srgb" in (given.profile_description or "").lower():
                return None
        # One transform serves all threads, which lcms allows where it does not remember the last pixel
        flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(given), ImageCms.ImageCmsProfile(srgb), mode, "RGB", intent, flags
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _reason(error: BaseException, content: bytes | Image.Image) -> str:
    """Why a content could not be decoded, in a few plain words."""
    begin = content[:16] if isinstance(content, bytes) else b""
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, UnidentifiedImageError):
        if begin[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
            return "a HEIC picture, which cannot be read here: convert it to JPEG or PNG"
        if begin.startswith(BEGINNINGS) or begin[4:8] == b"ftyp":
            return "damaged or cut off in its first bytes"
        return "not an image (of no format that is known here)"
    short = begin.startswith(b"RIFF") and len(content) < int.from_bytes(begin[4:8], "little")  # type: ignore[arg-type]
    if short or isinstance(error, EOFError) or re.search(r"truncated|not enough|unexpected end", str(error), re.I):
        return "truncated: the file ends before the picture does"
    if str(error) == "empty file":
        return "empty file"
    return f"damaged: {str(error) or type(error).__name__}"


class _Quiet:
    """Keeps warnings silent while any thread is inside: `warnings.catch_warnings` alone may be used by one only."""

    def __init__(self) -> None:
        self.lock, self.inside, self.outer = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.outer = warnings.catch_warnings()
                self.outer.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.outer.__exit__(None, None, None)


_QUIET = _Quiet()
