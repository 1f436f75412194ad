"""What libvips makes of real photographs, odd images and hostile bytes."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
import pyvips

from teknav_ops import sample_content
from teknav_ops.errors import PermanentError
from teknav_ops.payloads.media_optimize import ImageFormat
from workers.services import images
from workers.services.images import (
    SIDE_LIMIT,
    ImageDamaged,
    ImageTooLarge,
    NotAnImage,
    Rendition,
    UnsupportedImage,
    inspect,
    placeholder,
    renditions,
)

FORMATS: tuple[ImageFormat, ...] = ("avif", "webp", "jpeg")
PHOTOS = {path.name: path.read_bytes() for path in sample_content.photo_paths()}
#: A photograph of 200 x 133 pixels in memory, to make other files from.
SMALL = pyvips.Image.thumbnail_buffer(PHOTOS["flower.jpg"], 200).copy_memory()
SAVERS = {
    "jpeg": lambda image: image.jpegsave_buffer(Q=95),
    "progressive jpeg": lambda image: image.jpegsave_buffer(interlace=True),
    "png": lambda image: image.pngsave_buffer(),
    "interlaced png": lambda image: image.pngsave_buffer(interlace=True),
    "webp": lambda image: image.webpsave_buffer(),
    "gif": lambda image: image.gifsave_buffer(),
    "tiff": lambda image: image.tiffsave_buffer(keep="none"),
    "avif": lambda image: image.heifsave_buffer(compression="av1", effort=0),
}
MEDIA_TYPES = {"progressive jpeg": "image/jpeg", "interlaced png": "image/png"}


def make(content: bytes, *widths: int, formats: tuple[ImageFormat, ...] = ("jpeg",)) -> list[Rendition]:
    return list(renditions(content, inspect(content), widths, formats))


def decoded(content: bytes) -> Any:
    return pyvips.Image.new_from_buffer(content, "").copy_memory()


def difference(one: Any, other: Any) -> float:
    """Mean difference of two pictures of the same size, in levels of 255."""
    assert (one.width, one.height, one.bands) == (other.width, other.height, other.bands)
    return float((one.cast("float") - other.cast("float")).abs().avg())


def with_metadata(image: Any, **texts: str) -> Any:
    tagged = image.copy()
    for name, text in texts.items():
        tagged.set_type(pyvips.GValue.gstr_type, name.replace("__", "-"), text)
    return tagged


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photograph_is_the_same_picture_in_every_format(name: str) -> None:
    made = make(PHOTOS[name], 96, formats=FORMATS)
    reference = pyvips.Image.thumbnail_buffer(PHOTOS[name], 96, height=10_000).copy_memory()

    assert [rendition.format for rendition in made] == list(FORMATS)
    for rendition in made:
        assert (rendition.width, rendition.height) == (reference.width, reference.height)
        assert difference(decoded(rendition.content), reference) < 8, rendition.format


@pytest.mark.parametrize("name", SAVERS)
def test_the_type_is_known_by_content(name: str) -> None:
    facts = inspect(bytes(SAVERS[name](SMALL)))

    assert (facts.width, facts.height) == (200, 133)
    assert facts.media_type == MEDIA_TYPES.get(name, f"image/{name}")


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.97])
def test_a_truncated_image_of_any_type_is_refused(name: str, share: float) -> None:
    whole = bytes(SAVERS[name](SMALL))

    # A TIFF's directory stands at its end: without it nothing tells that it is one.
    with pytest.raises((ImageDamaged, NotAnImage)):
        inspect(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"<?xml version='1.0'?><!DOCTYPE svg><svg xmlns='http://www.w3.org/2000/svg'><image href='file:///x'/></svg>",
        b"%PDF-1.4 " + b"x" * 500,
        b"P6 2 2 255\n" + b"x" * 12,
        b"push graphic-context\nimage over 0,0 0,0 'https://example.com/'\npop graphic-context",
        b"\xff\x0a" + b"\0" * 200,
        PHOTOS["china.jpg"][1:],
    ],
    ids=["empty", "text", "svg", "svg with doctype", "pdf", "ppm", "magick", "jpeg xl", "shifted jpeg"],
)
def test_what_is_no_photograph_is_refused(content: bytes) -> None:
    with pytest.raises(NotAnImage):
        inspect(content)


def test_risky_loaders_and_the_cache_are_off_for_the_whole_process() -> None:
    with pytest.raises(pyvips.Error):
        pyvips.Image.new_from_buffer(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "")
    assert pyvips.cache_get_max() == 0


def test_damage_behind_a_sound_header_is_refused() -> None:
    with pytest.raises(ImageDamaged):
        inspect(bytes(SAVERS["png"](SMALL))[:60] + b"\0" * 5_000)


@pytest.mark.parametrize("saver", ["jpeg", "png", "webp"])
def test_a_pixel_bomb_is_refused_before_it_is_decoded(saver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A real one, of more than fifty million pixels, is in test_media_optimize.py.
    bomb = bytes(SAVERS[saver](pyvips.Image.black(1_000, 501)))
    monkeypatch.setattr(images, "PIXEL_LIMIT", 500_000)
    monkeypatch.setattr(images, "_read_to_the_end", lambda image: pytest.fail("it was decoded"))

    with pytest.raises(ImageTooLarge, match="1000 x 501"):
        inspect(bomb)


def test_too_many_bytes_are_refused_before_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BYTE_LIMIT", 100)

    with pytest.raises(ImageTooLarge, match="100 bytes"):
        inspect(PHOTOS["china.jpg"])


def test_nothing_is_enlarged_and_no_width_is_made_twice() -> None:
    content = PHOTOS["chelsea.png"]

    assert [made.width for made in make(content, 1280, 320, 1920)] == [320, 451]
    assert [made.width for made in make(content, 1280, 1920)] == [451]
    assert [made.format for made in make(content, 64, formats=("webp", "webp", "jpeg"))] == ["webp", "jpeg"]


UNDO = {
    1: lambda image: image,
    2: lambda image: image.fliphor(),
    3: lambda image: image.rot180(),
    4: lambda image: image.flipver(),
    5: lambda image: image.rot90().fliphor(),
    6: lambda image: image.rot270(),
    7: lambda image: image.rot270().fliphor(),
    8: lambda image: image.rot90(),
}


@pytest.mark.parametrize("orientation", UNDO)
def test_every_orientation_is_applied(orientation: int) -> None:
    # Whole JPEG blocks: otherwise shrinking on load cuts the last one, which lies at another edge when turned.
    blocks = SMALL.crop(0, 0, 192, 128)
    turned = UNDO[orientation](blocks).copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    content, upright = (bytes(image.jpegsave_buffer(Q=98, subsample_mode="off")) for image in (turned, blocks))

    assert (inspect(content).width, inspect(content).height) == (192, 128)
    for made, expected in zip(make(content, 48, 192), make(upright, 48, 192), strict=True):
        assert difference(decoded(made.content), decoded(expected.content)) < 2
        assert difference(decoded(made.content), decoded(expected.content).rot180()) > 20


@pytest.mark.parametrize("kind", FORMATS)
def test_no_metadata_leaves(kind: ImageFormat) -> None:
    marks = {
        "exif__ifd3__GPSLatitude": "35/1 41/1 0/1",
        "exif__ifd3__GPSLatitudeRef": "N",
        "exif__ifd0__Artist": "Secret Source",
    }
    tagged = with_metadata(SMALL.icc_transform("p3", input_profile="srgb"), **marks)
    tagged.set_type(
        pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Secret Source</x:xmpmeta>"
    )
    content = bytes(tagged.jpegsave_buffer())
    assert b"Secret Source" in content and "exif-ifd3-GPSLatitude" in decoded(content).get_fields()

    (made,) = make(content, 64, formats=(kind,))

    fields = decoded(made.content).get_fields()
    assert not [name for name in fields if name.startswith(("exif", "xmp", "iptc", "icc"))]
    assert b"Secret" not in made.content


def test_wide_gamut_and_cmyk_colours_come_out_as_srgb() -> None:
    red = pyvips.Image.black(64, 64, bands=3).linear(1, [200, 40, 40]).cast("uchar").copy(interpretation="srgb")
    wide = red.icc_transform("p3", input_profile="srgb")
    assert abs(wide.getpoint(9, 9)[0] - 200) > 5, "the profile must matter for this test to mean anything"

    for content, tolerance in (
        (wide.jpegsave_buffer(Q=98, subsample_mode="off"), 4),
        (red.icc_transform("cmyk", input_profile="srgb").jpegsave_buffer(Q=98), 12),
        (red.colourspace("cmyk").tiffsave_buffer(), 12),
    ):
        (made,) = make(bytes(content), 32, formats=("webp",))
        assert decoded(made.content).getpoint(9, 9) == pytest.approx([200, 40, 40], abs=tolerance)


@pytest.mark.parametrize(
    ("source", "tolerance"),
    [
        (lambda: SMALL.colourspace("rgb16").pngsave_buffer(), 5),
        (lambda: SMALL.colourspace("rgb16").tiffsave_buffer(), 5),
        (lambda: SMALL.pngsave_buffer(palette=True), 8),
        (lambda: SMALL.bandjoin(255).pngsave_buffer(), 5),
    ],
    ids=["sixteen-bit png", "sixteen-bit tiff", "palette", "opaque alpha"],
)
def test_other_depths_keep_their_colours(source: Any, tolerance: float) -> None:
    (made,) = make(bytes(source()), 200)

    assert decoded(made.content).format == "uchar"
    assert difference(decoded(made.content), SMALL) < tolerance


def test_grey_stays_grey_and_a_broken_profile_is_ignored() -> None:
    (grey,) = make(bytes(SMALL.colourspace("grey16").pngsave_buffer()), 64)
    tagged = SMALL.copy()
    tagged.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"garbage" * 40)
    (plain,) = make(bytes(tagged.jpegsave_buffer(Q=95)), 200)

    red, green, blue = (band.avg() for band in decoded(grey.content).bandsplit())
    assert red == pytest.approx(green, abs=1) and green == pytest.approx(blue, abs=1)
    assert difference(decoded(plain.content), SMALL) < 5


def test_transparency_is_kept_and_becomes_white_in_jpeg() -> None:
    content = bytes(SMALL.bandjoin(0).pngsave_buffer())

    avif, webp, jpeg = make(content, 32, formats=FORMATS)

    assert decoded(avif.content).hasalpha() and decoded(webp.content).hasalpha()
    assert decoded(jpeg.content).avg() > 250


@pytest.mark.parametrize(("width", "height", "widths"), [(400, 20_000, [320, 327]), (100, 300_000, [5])])
def test_a_tall_infographic_is_made_as_wide_as_it_fits(width: int, height: int, widths: list[int]) -> None:
    content = bytes(pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb").pngsave_buffer())

    made = make(content, 320, 1280, formats=("webp", "jpeg"))

    assert [(one.width, one.format) for one in made] == [(w, kind) for w in widths for kind in ("webp", "jpeg")]
    assert all(one.height <= SIDE_LIMIT for one in made)
    assert f"{height:,} pixels tall" in (inspect(content).note or "")


@pytest.mark.parametrize("saver", ["gif", "webp"])
def test_of_an_animation_the_first_frame_is_kept(saver: str) -> None:
    frames = SMALL.join(SMALL.invert(), "vertical").copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", SMALL.height)
    content = bytes(SAVERS[saver](frames))
    assert pyvips.Image.new_from_buffer(content, "").get("n-pages") == 2
    assert inspect(content).note == "2 frames: the variants show the first one only"

    (made,) = make(content, 200)

    assert difference(decoded(made.content), SMALL) < 12


@pytest.mark.parametrize(
    "source",
    [
        lambda: SMALL.cast("float").tiffsave_buffer(),
        lambda: SMALL.colourspace("lab").tiffsave_buffer(),
        lambda: SMALL.bandjoin([1, 2]).tiffsave_buffer(),
    ],
    ids=["float", "lab", "five channels"],
)
def test_measurements_are_refused_rather_than_shown_wrong(source: Any) -> None:
    with pytest.raises(UnsupportedImage, match="channels of"):
        inspect(bytes(source()))


def test_heic_without_a_decoder_says_what_to_do() -> None:
    avif = bytes(SAVERS["avif"](SMALL))
    heic = avif.replace(b"ftypavif", b"ftypheic")[: int(len(avif) * 0.97)]

    with pytest.raises(UnsupportedImage, match="save it as JPEG"):
        inspect(heic)


def test_a_placeholder_is_tiny_and_shows_the_picture() -> None:
    uri = placeholder(PHOTOS["coffee.png"])

    head, _, data = uri.partition(",")
    picture = decoded(base64.b64decode(data))
    assert head == "data:image/webp;base64" and len(uri) < 700
    assert max(picture.width, picture.height) == 16
    assert picture.avg() == pytest.approx(decoded(PHOTOS["coffee.png"]).avg(), abs=15)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_come_out_each_time(kind: ImageFormat) -> None:
    once, again = (make(PHOTOS["rocket.jpg"], 160, 320, formats=(kind,)) for _ in range(2))

    assert once == again


def test_all_refusals_are_permanent() -> None:
    for refusal in (NotAnImage, ImageTooLarge, ImageDamaged, UnsupportedImage):
        assert issubclass(refusal, PermanentError)


def test_an_animated_png_says_that_one_frame_is_shown() -> None:
    plain = bytes(SMALL.pngsave_buffer())
    head_end = len(b"\x89PNG\r\n\x1a\n") + 25
    control = b"acTL" + (3).to_bytes(4, "big") + bytes(4)
    chunk = (8).to_bytes(4, "big") + control + zlib.crc32(control).to_bytes(4, "big")

    assert inspect(plain).note is None
    facts = inspect(plain[:head_end] + chunk + plain[head_end:])
    assert (facts.frame_count, facts.note) == (3, "3 frames: the variants show the first one only")


def test_an_animated_avif_is_refused_as_what_it_is() -> None:
    with pytest.raises(UnsupportedImage, match="animated AVIF"):
        inspect(b"\0\0\0\x2cftypavis" + bytes(200))
