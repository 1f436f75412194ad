"""Images: what libvips is asked to do, and what it is not trusted with."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, Final

# Worker threads run side by side already; libvips reads this when it is loaded.
os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips

from teknav_ops.errors import PermanentError
from teknav_ops.payloads.media_optimize import ImageFormat

BYTE_LIMIT: Final = 40 * 1024 * 1024
PIXEL_LIMIT: Final = 50_000_000
#: The longest side, in pixels, that WebP can hold.
SIDE_LIMIT: Final = 16_383
#: Content decides, never the file's name. Loaders for documents, vectors and raw data are left out.
_MEDIA_TYPES: Final = {
    "VipsForeignLoadJpegBuffer": "image/jpeg",
    "VipsForeignLoadPngBuffer": "image/png",
    "VipsForeignLoadWebpBuffer": "image/webp",
    "VipsForeignLoadNsgifBuffer": "image/gif",
    "VipsForeignLoadTiffBuffer": "image/tiff",
    "VipsForeignLoadHeifBuffer": "image/avif",
}
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ANIMATED_AVIF: Final = b"ftypavis"
_HEIC_BRANDS: Final = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftyphevx")
_PLACEHOLDER_SIDE: Final = 16
_JPEG_QUALITY, _WEBP_QUALITY, _AVIF_QUALITY = 80, 80, 55

# Loaders that libvips' authors would not trust with strangers' files are switched off for the whole process.
pyvips.block_untrusted_set(True)
# The cache would hold on to the last hundred uploads, and no operation here is asked for twice.
pyvips.cache_set_max(0)


class NotAnImage(PermanentError):
    """The bytes are no image that we publish: JPEG, PNG, WebP, GIF, TIFF or AVIF."""


class ImageTooLarge(PermanentError):
    """More bytes or pixels than we decode."""


class UnsupportedImage(PermanentError):
    """A kind of image that cannot be shown faithfully: HEIC without its decoder, an animated AVIF, or measurements
    instead of colours.
    """


class ImageDamaged(PermanentError):
    """The image ends early or cannot be decoded."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFacts:
    """An original: its type by content, its size as seen (orientation applied), and how many frames or pages it has."""

    media_type: str
    width: int
    height: int
    frame_count: int = 1

    @property
    def note(self) -> str | None:
        """What its variants do not show."""
        notes = []
        if self.frame_count > 1:
            notes.append(f"{self.frame_count} frames: the variants show the first one only")
        if self.height > SIDE_LIMIT:
            notes.append(f"{self.height:,} pixels tall: no variant is taller than {SIDE_LIMIT:,}")
        return "; ".join(notes) or None


@dataclasses.dataclass(frozen=True, slots=True)
class Rendition:
    """One variant's bytes."""

    format: ImageFormat
    width: int
    height: int
    content: bytes


def inspect(content: bytes) -> ImageFacts:
    """Judge an image: by its header, before anything is decoded, then by whether it can be read to its end.

    Raises:
        NotAnImage, ImageTooLarge, UnsupportedImage, ImageDamaged.
    """
    if len(content) > BYTE_LIMIT:
        raise ImageTooLarge(f"the file is over the limit of {BYTE_LIMIT:,} bytes")
    media_type = _media_type(content)
    image = _open(content)
    if image.width * image.height > PIXEL_LIMIT:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels are over the limit of {PIXEL_LIMIT:,}")
    _require_colours(image)
    _read_to_the_end(content, image)
    turned = _orientation(image) >= 5
    width, height = (image.height, image.width) if turned else (image.width, image.height)
    if _widest(width, height) < 1:
        raise ImageTooLarge(f"{width} x {height} pixels: no copy of it fits into {SIDE_LIMIT:,} pixels")
    return ImageFacts(media_type, width, height, _frame_count(content, image))


def variant_widths(facts: ImageFacts, widths: tuple[int, ...]) -> list[int]:
    """The widths to make, smallest first: each once, none wider than the original or taller than WebP can hold."""
    return sorted({min(width, facts.width, _widest(facts.width, facts.height)) for width in widths})


def _widest(width: int, height: int) -> int:
    """How wide it may be without being taller than a side can be."""
    return width if height <= SIDE_LIMIT else width * SIDE_LIMIT // height


def _frame_count(content: bytes, image: Any) -> int:
    if content.startswith(_PNG):
        return _png_frame_count(content)
    return int(image.get("n-pages")) if image.get_typeof("n-pages") else 1


def _png_frame_count(content: bytes) -> int:
    """How many frames a PNG says that it has: libvips shows an animated one as if it had one."""
    at = len(_PNG)
    while at + 12 <= len(content) and content[at + 4 : at + 8] != b"IDAT":
        if content[at + 4 : at + 8] == b"acTL":
            return max(1, int.from_bytes(content[at + 8 : at + 12], "big"))
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return 1


def renditions(
    content: bytes, facts: ImageFacts, widths: tuple[int, ...], formats: tuple[ImageFormat, ...]
) -> Iterator[Rendition]:
    """The variants, smallest first; none is wider than the original. Of an animation, the first frame.

    Raises:
        ImageDamaged: the image cannot be decoded to its end.
    """
    for width in variant_widths(facts, widths):
        picture = _scaled(content, width)
        for kind in dict.fromkeys(formats):
            yield Rendition(kind, picture.width, picture.height, _encode(picture, kind))


def placeholder(content: bytes) -> str:
    """A few hundred bytes to show, enlarged and so blurred, until the image arrives: a data URI."""
    tiny = _encode(_scaled(content, _PLACEHOLDER_SIDE, _PLACEHOLDER_SIDE), "webp", quality=30)
    return "data:image/webp;base64," + base64.b64encode(tiny).decode()


def _media_type(content: bytes) -> str:
    found = pyvips.vips_lib.vips_foreign_find_load_buffer(content, len(content))
    if found == pyvips.ffi.NULL:
        # Otherwise libvips would put this search's complaint before the next error's text.
        pyvips.vips_lib.vips_error_clear()
        if content[4:12] == _ANIMATED_AVIF:
            raise UnsupportedImage("an animated AVIF, which cannot be decoded here; save it as WebP or GIF")
        raise NotAnImage("not a JPEG, PNG, WebP, GIF, TIFF or AVIF image")
    loader = str(pyvips.ffi.string(found), "ascii")
    if loader not in _MEDIA_TYPES:
        raise NotAnImage(f"not a JPEG, PNG, WebP, GIF, TIFF or AVIF image, but one for {loader}")
    return "image/heic" if _is_heic(content) else _MEDIA_TYPES[loader]


def _open(content: bytes) -> Any:
    try:
        return pyvips.Image.new_from_buffer(content, "", access="sequential", fail_on="truncated")
    except pyvips.Error as error:
        raise _refusal(content, error) from None


def _require_colours(image: Any) -> None:
    band_limit = 5 if image.interpretation == "cmyk" else 4
    if image.format not in ("uchar", "ushort") or image.bands > band_limit:
        raise UnsupportedImage(f"{image.bands} channels of {image.format}; save it with 8 or 16 bits per colour")


def _read_to_the_end(content: bytes, image: Any) -> None:
    # `thumbnail` is content with the first part of a truncated file, even when told to fail on one.
    try:
        image.avg()
    except pyvips.Error as error:
        raise _refusal(content, error) from None


def _is_heic(content: bytes) -> bool:
    return content[4:12] in _HEIC_BRANDS


def _refusal(content: bytes, error: Any) -> PermanentError:
    if _is_heic(content):
        return UnsupportedImage("a HEIC image that cannot be decoded here; save it as JPEG")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ImageDamaged(lines[-1][:300] if lines else "the image cannot be decoded")


def _orientation(image: Any) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1


def _scaled(content: bytes, width: int, height: int = PIXEL_LIMIT) -> Any:
    """Shrunk while loading, turned upright, in sRGB with 8 bits."""
    try:
        image = pyvips.Image.thumbnail_buffer(
            content, width, height=height, size="down",
            output_profile="srgb", intent="relative",
        )  # fmt: skip
        image = image.colourspace("srgb").cast("uchar")
        # Decoded once, here: each format's encoder would otherwise decode it again.
        return image.copy_memory()
    except pyvips.Error as error:
        raise _refusal(content, error) from None


def _encode(picture: Any, kind: ImageFormat, quality: int | None = None) -> bytes:
    """Without metadata: no place, camera or name leaves with the picture."""
    if kind == "jpeg":
        flat = picture.flatten(background=[255, 255, 255]) if picture.hasalpha() else picture
        return bytes(
            flat.jpegsave_buffer(Q=quality or _JPEG_QUALITY, keep="none", optimize_coding=True, interlace=True)
        )
    if kind == "webp":
        return bytes(picture.webpsave_buffer(Q=quality or _WEBP_QUALITY, keep="none", effort=4))
    return bytes(picture.heifsave_buffer(Q=quality or _AVIF_QUALITY, keep="none", compression="av1", effort=2))
