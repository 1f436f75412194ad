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
#: Content decides, never the file's name. Loaders for documents, vectors and raw data are left out.
_LOADERS: Final = {
    "jpegload_buffer": "image/jpeg",
    "pngload_buffer": "image/png",
    "webpload_buffer": "image/webp",
    "gifload_buffer": "image/gif",
    "tiffload_buffer": "image/tiff",
    "heifload_buffer": "image/avif",
}
_PLACEHOLDER_WIDTH: Final = 16
_JPEG_QUALITY, _WEBP_QUALITY, _AVIF_QUALITY = 80, 80, 55


class NotAnImage(PermanentError):
    """The bytes are no image that we publish: JPEG, PNG, WebP, GIF, TIFF or AVIF."""


class ImageTooLarge(PermanentError):
    """More bytes or pixels than we decode."""


class ImageDamaged(PermanentError):
    """The image ends early or cannot be decoded."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFacts:
    """An original: its type by content, and its size as seen (orientation applied)."""

    media_type: str
    width: int
    height: int


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
        NotAnImage, ImageTooLarge, ImageDamaged.
    """
    if len(content) > BYTE_LIMIT:
        raise ImageTooLarge(f"the file is over the limit of {BYTE_LIMIT:,} bytes")
    loader = _loader(content)
    image = _open(content)
    if image.width * image.height > PIXEL_LIMIT:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels are over the limit of {PIXEL_LIMIT:,}")
    _read_to_the_end(image)
    turned = _orientation(image) >= 5
    width, height = (image.height, image.width) if turned else (image.width, image.height)
    return ImageFacts(_LOADERS[loader], width, height)


def renditions(
    content: bytes, facts: ImageFacts, widths: tuple[int, ...], formats: tuple[ImageFormat, ...]
) -> Iterator[Rendition]:
    """The variants, smallest first; none is wider than the original. Of an animation, the first frame.

    Raises:
        ImageDamaged: the image cannot be decoded to its end.
    """
    for width in sorted({min(width, facts.width) for width in widths}):
        picture = _scaled(content, width)
        for kind in formats:
            yield Rendition(kind, picture.width, picture.height, _encode(picture, kind))


def placeholder(content: bytes) -> str:
    """A few hundred bytes to show until the image arrives, as a data URI."""
    tiny = _encode(_scaled(content, _PLACEHOLDER_WIDTH), "webp", quality=30)
    return "data:image/webp;base64," + base64.b64encode(tiny).decode()


def _loader(content: bytes) -> str:
    loader = pyvips.vips_lib.vips_foreign_find_load_buffer(content, len(content))
    nickname = "" if loader == pyvips.ffi.NULL else _nickname(loader)
    if nickname not in _LOADERS:
        raise NotAnImage(f"not a JPEG, PNG, WebP, GIF, TIFF or AVIF image ({nickname or 'unknown content'})")
    return nickname


def _nickname(loader: Any) -> str:
    return str(
        pyvips.ffi.string(pyvips.vips_lib.vips_nickname_find(pyvips.gobject_lib.g_type_from_name(loader))), "utf-8"
    )


def _open(content: bytes) -> Any:
    try:
        return pyvips.Image.new_from_buffer(content, "", access="sequential", fail_on="truncated")
    except pyvips.Error as error:
        raise ImageDamaged(_first_line(error)) from None


def _read_to_the_end(image: Any) -> None:
    # `thumbnail` is content with the first part of a truncated file and paints the rest grey.
    try:
        image.avg()
    except pyvips.Error as error:
        raise ImageDamaged(_first_line(error)) from None


def _orientation(image: Any) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1


def _scaled(content: bytes, width: int) -> Any:
    """Shrunk while loading, turned upright, in sRGB with 8 bits."""
    try:
        image = pyvips.Image.thumbnail_buffer(
            content, width, height=PIXEL_LIMIT, size="down",
            output_profile="srgb", intent="perceptual",
        )  # fmt: skip
        image = image.colourspace("srgb").cast("uchar")
        # Decoded once, here: each format's encoder would otherwise decode it again.
        return image.copy_memory()
    except pyvips.Error as error:
        raise ImageDamaged(_first_line(error)) from None


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


def _first_line(error: Any) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "the image cannot be decoded"
