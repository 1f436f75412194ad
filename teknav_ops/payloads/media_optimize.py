"""media:optimize: web-sized copies of uploaded images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from teknav_ops.payloads.base import Payload, row_id

ImageFormat = Literal["avif", "webp", "jpeg"]


class OptimizeImage(Payload):
    """Make the web-sized copies of one uploaded image."""

    file_id: Annotated[int, row_id("Row of the File table.")]
    widths: Annotated[
        tuple[Annotated[int, Field(ge=16, le=7680)], ...],
        Field(min_length=1, max_length=12, description="Widths to make, in pixels; never enlarged."),
    ] = (320, 640, 1280, 1920)
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1, max_length=3)] = ("avif", "webp", "jpeg")
